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
// The files, from the bottom up. No file uses a file of a later group:
//
//   - Basics: names, errors, keyrange, waitlist, backoff, bounded, timeouts, and what needs no more than the log: clock,
//     applied, health, deleter, presence, loading, hash_shared.
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
//   - Nothing is acknowledged and nothing is shown to readers or watchers before the append that holds it succeeded.
//   - Positions are dense. Revisions grow by one for each request that changes something; all its writes share it and
//     differ in their sub-revision.
//   - Rows of the log are deleted only when they are dead to everyone who has applied the log up to the floor, and
//     older rows of a key always before its tombstone.
package logstructured
