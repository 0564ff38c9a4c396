// Package snapshot reads and writes etcd's snapshots. A snapshot is the file that `etcdctl snapshot save` writes and
// `etcdutl snapshot restore` reads: etcd's bbolt database followed by its SHA-256.
//
// The bucket "key" holds the history, in the order of the changes. A key consists of a revision, a sub-revision and a
// tombstone mark, a value is a marshalled mvccpb.KeyValue. Other buckets hold the compact revision ("meta"), leases,
// users and roles, alarms, and the data of the cluster that wrote the snapshot, which a restore replaces.
//
// Invariants:
//
//   - A file that [Open] accepts has a valid checksum, unless the caller allows a file without one.
//   - A file of [Writer] is complete after Finish; Abort removes it.
//   - A panic of bbolt over a damaged file becomes an [ErrCorrupt].
package snapshot
