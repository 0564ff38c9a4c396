// Package logstructured is etcd's MVCC store over an append-only log in a database.
//
// The log ([log.Log]) is the source of truth; all other state is rebuilt from it. The parts:
//
//   - index: every key and the metadata of its revisions, in a copy-on-write B-tree. A [snapshot] of it is published
//     after each append; readers load one and take no lock.
//   - writer: one goroutine that evaluates the waiting requests in memory, each on the state that the previous one
//     left, and appends the entries of all of them at once. It also applies the entries of other replicas.
//   - values: a bounded cache of values. A row never changes, so a cached value is never stale.
//   - reads: all linearizable reads that wait share one query for the head of the log.
//   - watch: a watcher is a cursor into the history; no events are queued for it.
//   - lease and compaction: both append to the log like any client.
//
// DESIGN.md lists the files, from the bottom up.
//
// Invariants:
//
//   - A published snapshot holds exactly the entries up to its head, and never changes.
//   - No write is acknowledged, or shown to readers or watchers, before its append has succeeded.
//   - Positions are dense. Revisions grow by one for each request that changes something; all its writes share the
//     revision and differ in their sub-revision.
//   - A row of the log is deleted only when it is garbage to every replica that has applied the log up to the floor.
//     Older rows of a key are always deleted before its tombstone.
package logstructured
