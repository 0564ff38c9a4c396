// Package transport accepts the connections of a server that serves gRPC and HTTP on the same port: listeners, TLS
// certificates, protocol detection, and limits of connections. It knows neither etcd's services nor a store.
//
// A [Listener] accepts connections, and a [Dispatcher] does their TLS handshakes, detects their protocols and hands
// them to the [Queues] of a gRPC server and of an HTTP server. An [Observer] follows each connection.
package transport
