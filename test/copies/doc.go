// Package copies lets `stele import` copy what an etcd, a snapshot of one, or another Stele holds, and compares
// everything that a client can see of both: all keys at all revisions that can be read, what a watch shows of them,
// leases, users and roles, and HashKV at several revisions.
//
// Databases are what package stele documents; the copies from database to database use one of each kind.
package copies
