// Package faults runs three replicas on one real database while replicas, connections and databases fail, and has
// package crash judge what clients and watchers saw: linearizability, replay and watches, the same checkers as there.
//
// The clients are spread over all replicas, and watch streams move from one to the other; one stream stays with each
// replica, which must not break it unless it is killed itself. Between every replica and every node of the database
// stands a proxy, so that one replica can be cut off. A run prints one line:
//
//	operations N, acknowledged writes N, ... unknown N (applied N), ... lost 0, doubled 0, watch violations 0; unavailable 0.4s
//
// Unavailable is the longest time in which a replica that should have been well acknowledged no write. The raft term in
// headers never changes, but where the database itself goes back in time.
//
// `make test` has short forms of some faults; the build tag faults adds the others, and the second database to all of
// them.
//
// Environment: STELE_TEST_FAULT_DURATION, the length of each run; from 30s on a replica is stopped for 60 s and cut off
// for 10 s, and for less otherwise. STELE_TEST_FAULT_SEED, and what package stele documents. With -artifacts, windows
// that are not linearizable are kept as porcupine's pages.
package faults
