// Package semantics states etcd's rules one by one, each as a test of its own, and runs every one against Stele and
// against etcd: an expectation that is wrong fails on etcd.
//
//   - A rule uses keys of its own and revisions relative to the current one, so that rules can share a server. Rules
//     that need a fresh store, or compact, have a server each.
//   - With STELE_TEST_DATABASE or STELE_TEST_REPLICAS the rules are run against that Stele alone.
//   - Waits have deadlines; nothing sleeps.
package semantics
