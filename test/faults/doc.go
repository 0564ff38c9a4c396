// Package faults runs three replicas on one real database while replicas, connections and databases fail.
//
// Package crash checks the records of clients and watchers: linearizability, replay and watches.
//
// The clients are spread over all replicas, and watch streams move from one to the other; one stream stays with each
// replica, which must not break it unless the replica itself is killed. A proxy between every replica and every node of
// the database can cut one replica off. A run prints one line:
//
//	operations N, acknowledged writes N, ... unknown N (applied N), ... lost 0, doubled 0, watch violations 0;
//	unavailable 0.4s
//
// Unavailable is the longest time in which a healthy replica acknowledged no write. The raft term in headers changes
// only if the database itself goes back in time.
//
// `make test` runs short forms of some faults; the build tag faults adds the others, and the second database to all of
// them.
//
// Environment: STELE_TEST_FAULT_DURATION, the length of each run; from 30s on a replica is stopped for 60 s and cut off
// for 10 s, and for less otherwise. STELE_TEST_FAULT_SEED, and the variables of package stele. With -artifacts, windows
// that are not linearizable are kept as porcupine's pages.
package faults
