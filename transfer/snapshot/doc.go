// Package snapshot reads and writes etcd's snapshots: the file that `etcdctl snapshot save` makes and `etcdutl snapshot
// restore` takes, which is etcd's bbolt database followed by its SHA-256.
//
// The history is in the bucket "key": a revision, a sub-revision and whether it is a tombstone make the key, a
// marshalled mvccpb.KeyValue the value, in the order in which things happened. Beside it are the compact revision
// ("meta"), leases, users and roles, alarms, and what belongs to the cluster that made it, which a restore replaces.
//
// Invariants:
//
//   - What [Open] accepts has the checksum that it says, unless the caller does without.
//   - What a file of [Create] holds is complete or the file is not there: it gets its name last.
//   - No panic of bbolt's over a damaged file gets out: it is an [ErrCorrupt].
package snapshot
