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
// The files, from the bottom up. No file uses a file of a later group:
//
//   - Basics: names, errors, keyrange, waitlist, backoff, bounded, timeouts, and the files that need only the log:
//     clock, applied, health, deleter, presence, loading, hash_shared.
//   - Rows and requests: index, checksum, bulk and values; lease_mode, control, guard, request, lease_identity.
//   - State: state, history, index_bytes, apply, trim, validate; alarm, quota, import_mark, turns.
//   - Evaluation: evaluate, txn, range, expiry.
//   - Loading: rules, load.
//   - Parts of the store: options, metrics, group, refusal, reads, members; hub and the files of watch.
//   - The store and its writer: store, writer, append, tail, recovery, follower, commit, sweeper.
//   - Methods for clients: kv, lease, lease_convert, compact and the store_* files; open and run.
//   - Tools: hash, check, import, import_verify, export, export_copy, export_lease.
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
