// Package logstructured is etcd's MVCC store over an append-only log in a database.
//
// The log ([log.Log]) is the only truth; everything here is rebuilt from it. The parts:
//
//   - index: every key and the metadata of its revisions, in a copy-on-write B-tree. A [snapshot] of it is published
//     after each append; readers load one and take no lock.
//   - writer: one goroutine that evaluates the waiting requests in memory, one after the other, each on the state that
//     the former left, and appends the outcome of all of them at once. It also applies what other processes appended.
//   - values: a bounded cache of values. A row never changes, so a cached value is never stale.
//   - reads: one question to the database for the log's end serves all linearizable reads that wait.
//   - watch: watchers are cursors into the history; nothing is queued for them.
//   - lease and compaction: both append to the log like any client.
//
// Invariants:
//
//   - A published snapshot holds exactly the entries up to its head, and never changes.
//   - Nothing is acknowledged and nothing is shown to readers or watchers before the append that holds it succeeded.
//   - Positions are dense. Revisions grow by one for each request that changes something; all its writes share it and
//     differ in their sub-revision.
//   - Rows of the log are deleted only when they are dead to everyone who has applied the log up to the floor, and
//     older rows of a key always before its tombstone.
package logstructured
