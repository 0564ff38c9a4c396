// Package server speaks etcd: it serves the etcd v3 gRPC services and etcd's HTTP endpoints over a
// [logstructured.Store]. It is the only package that serves etcdserverpb; pkg/client is its client.
//
// Every handler reads the same: validate, call the store, map the error, fill the header. What is refused is
// refused before the store is called, with etcd's code and message and in etcd's order of checks, so that a request
// that breaks two rules is answered for the same one.
//
// Invariants:
//
//   - No error becomes an answer, and every error of the store goes through [toStatus].
//   - Requests and answers share their bytes with the store: nothing here writes to a key or value.
//   - A watch stream has one sender, which takes responses from the store in the order in which they must leave, so a
//     progress notification cannot overtake an event.
//   - A connection that has not said what it speaks is bounded in time and in number; it never delays another one.
//   - [Server.Run] returns when everything it started has stopped.
//
// gRPC and HTTP share the client port, as with etcd. A connection is handed to the plain grpc-go transport or to
// net/http after its first bytes (or its ALPN protocol) are known; see the dispatcher.
package server
