// Package yurthub runs the storage of OpenYurt's yurthub, a program that keeps the objects of a pool of nodes in an
// etcd, on Stele and on etcd: its own Go package, unchanged.
//
// It writes two keys for each object, the object and, under /mirror/rv, its resource version as 32 digits, in one
// transaction each time: a creation compares the mod revision with 0, an update compares the mirror's value with the
// new version, and a list that replaces another one is a transaction of nested transactions and deletes. Everything of
// such a transaction must have one revision, and a watcher must see it in one step.
//
// Environment: STELE_TEST_DATABASE and STELE_TEST_REPLICAS as in package target. The run without them compares with
// etcd.
package yurthub
