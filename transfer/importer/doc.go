// Package importer copies what an etcd, one of its snapshots, or another log of Stele's holds into an empty log: every
// revision from the compact revision on as it was, leases, users and roles. logstructured.Import writes it; here is
// where it comes from, and how a copy is known to be right.
//
// A copy of a running etcd begins with a snapshot of it and goes on with a watch of everything from the next revision,
// until a cut-over: a revision up to which everything is in the log. What was written later is not, so writers stop
// before it.
//
// Invariants:
//
//   - Nobody can use the target before everything is in it, and the same HashKV was computed over the source and over what was read back from the target.
//   - An interrupted copy goes on where it was interrupted, or says that it cannot because the source has compacted what comes next. A revision is never left out.
//   - Nothing is written to the source.
package importer
