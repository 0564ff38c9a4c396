// Package client is a small client of an etcd API: values under keys, changed only by whoever knows their last
// revision. A program that embeds a datastore keeps its own few values with it (k3s: the certificates of a cluster,
// under /bootstrap); it has the method set that such programs know.
//
// It speaks the protocol through etcd's generated stubs and grpc. etcd's own client would do the same with a logger, a
// watcher, leases, sessions and a retry layer that nothing here needs; DESIGN.md compares the two.
//
// Invariants:
//
//   - A write is sent once. If the connection breaks before it was answered, the error says Unavailable and it may have happened.
//   - Reads are tried again, on another endpoint if there is one.
//   - An answer that is not there is an error with an identity: [ErrNotFound], [ErrKeyExists], [ErrRevision]. etcd's errors keep theirs
//     (package rpctypes of etcd's API).
package client
