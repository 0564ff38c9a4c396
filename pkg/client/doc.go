// Package client is a small client of an etcd API: values under keys, changed only at their last known revision. A
// program that embeds a datastore keeps a few values of its own there (k3s: the certificates of a cluster, under
// /bootstrap). The method set is the one that such programs use.
//
// It speaks the protocol through etcd's generated stubs and grpc. etcd's own client would do the same with a logger, a
// watcher, leases, sessions and a retry layer that this package does not need; DESIGN.md compares the two.
//
// Invariants:
//
//   - The client sends a write once. If the connection breaks before the answer, the error is Unavailable and the write
//     may have taken place.
//   - The client retries reads, on another endpoint if there is one.
//   - Expected conditions have their own errors: [ErrNotFound], [ErrKeyExists], [ErrRevision]. etcd's errors keep
//     their identity (package rpctypes of etcd's API).
package client
