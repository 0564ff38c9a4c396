// Package snapshot reads and writes etcd's snapshots: the file that `etcdctl snapshot save` makes and `etcdutl snapshot
// restore` takes, which is etcd's bbolt database followed by its SHA-256.
//
// The history is in the bucket "key": a revision, a sub-revision and whether it is a tombstone make the key, a
// marshalled mvccpb.KeyValue the value, in the order in which things happened. Beside it are the compact revision
// ("meta"), leases, users and roles, alarms, and what belongs to the cluster that made it, which a restore replaces.
//
// Invariants:
//
//   - A file that [Open] accepts has a valid checksum, unless the caller allows a file without one.
//   - A file of [Writer] is complete after Finish; Abort removes it.
//   - A panic of bbolt over a damaged file becomes an [ErrCorrupt].
package snapshot
