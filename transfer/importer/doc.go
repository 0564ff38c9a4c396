// Package importer copies the content of an etcd, of an etcd snapshot, of another log of Stele or of another history
// into an empty log: every revision from the compact revision on, leases, users and roles. logstructured.Import writes
// the log; this package reads the sources and verifies the copies.
//
// A copy of a running etcd begins with a snapshot and continues with a watch of all later revisions, until the
// cut-over: the last revision of the copy. Later writes are not in the copy, so clients must stop writing before.
//
// Invariants:
//
//   - No server can use the target until it is complete and its content, read back, has the HashKV of the source.
//     The HashKV of a source that does not report it, such as kine's table, is computed from a second reading.
//   - An interrupted copy resumes where it stopped, or returns an error if the source has compacted the next revisions.
//     It never leaves out a revision.
//   - The importer writes nothing to the source.
package importer
