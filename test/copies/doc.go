// Package copies compares the copies that `stele import` makes with their sources: etcd, its snapshots, and other
// Steles.
//
// It compares everything that a client can read: all keys at all readable revisions, the events of a watch, leases,
// users and roles, and HashKV at several revisions.
//
// Package stele documents the choice of databases; copies between databases use one of each kind.
package copies
