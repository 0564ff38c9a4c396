// Package differential runs the same requests against Stele and etcd and compares every answer.
//
//   - The requests come from a seeded generator: of every kind, with every option, valid and invalid, over few keys, so that
//     they meet. A run prints its seeds; STELE_TEST_DIFF_SEED repeats one.
//   - Answers are compared field by field; errors by code and by message. Only cluster_id, member_id and raft_term differ,
//     and they must not be zero.
//   - Watch streams are compared event by event with the reference and with the history of its writes.
//   - What differs on purpose stands in deliberate.go with its reason. Nothing else may.
//
// Environment: STELE_TEST_DIFF_REQUESTS is the number of requests per seed, STELE_TEST_DIFF_SEEDS the number of seeds,
// STELE_TEST_DIFF_SEED the first one; STELE_TEST_SUBJECT=etcd compares etcd with itself.
package differential
