// Package semantics tests etcd's rules one by one, each on Stele and on etcd.
//
// A wrong expectation fails on etcd.
//
//   - A rule uses keys of its own and revisions relative to the current one, so that rules can share a server. Rules
//     that need a fresh store, or compact, have a server each.
//   - With STELE_TEST_DATABASE or STELE_TEST_REPLICAS the rules run against that Stele alone.
//   - Waits have deadlines; no test sleeps.
package semantics
