// Package yurthub runs the storage of OpenYurt's yurthub, unchanged, on Stele and on etcd.
//
// yurthub keeps the objects of a pool of nodes in an etcd. It writes two keys for each object in one transaction: the
// object and, under /mirror/rv, its resource version as 32 digits. A creation compares the mod revision with 0, an
// update compares the mirror's value with the new version, and a list that replaces another one is a transaction of
// nested transactions and deletes. All writes of such a transaction must have one revision, and a watcher must receive
// them in one response.
//
// Environment: STELE_TEST_DATABASE and STELE_TEST_REPLICAS as in package target. The run without them compares with
// etcd.
package yurthub
