// Package differential runs the same requests against Stele and etcd and compares every answer.
//
//   - A seeded generator makes the requests: of every kind, with every option, valid and invalid, over so few keys that
//     they conflict. A run prints its seeds; STELE_TEST_DIFF_SEED repeats one.
//   - Answers are compared field by field; errors by code and by message. Only cluster_id, member_id and raft_term
//     differ, and they must not be zero.
//   - Watch streams are compared event by event with the reference and with the history of its writes.
//   - deliberate.go lists the deliberate differences with their reasons. There must be no other.
//
// Environment: STELE_TEST_DIFF_REQUESTS is the number of requests per seed, STELE_TEST_DIFF_SEEDS the number of seeds,
// STELE_TEST_DIFF_SEED the first one; STELE_TEST_SUBJECT=etcd compares etcd with itself.
package differential
