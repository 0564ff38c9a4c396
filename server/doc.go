// Package server serves the etcd v3 gRPC services and etcd's HTTP endpoints over a [logstructured.Store]. It is the
// only package that serves etcdserverpb; pkg/client is its client.
//
// Every handler has the same structure: validate, call the store, map the error, fill the header. A handler validates a
// request before it calls the store, with etcd's codes and messages and in etcd's order of checks, so that a request
// that breaks two rules gets the same error as from etcd.
//
// Invariants:
//
//   - A failed request gets no response message, and every error of the store goes through [toStatus].
//   - Requests and responses share their bytes with the store: this package never modifies a key or value.
//   - A watch stream has one sender, which takes responses from the store in the order in which they must be sent, so
//     a progress notification cannot overtake an event.
//   - Connections whose protocol is not known yet are bounded in time and in number, and never delay other connections.
//   - [Server.Run] returns when everything it started has stopped.
//
// gRPC and HTTP share the client port, as with etcd. Package transport accepts the connections, and hands each one to
// the plain grpc-go transport or to net/http once its first bytes (or its ALPN protocol) are known.
package server
