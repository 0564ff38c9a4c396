// Package crash checks etcd's guarantees to concurrent clients and watchers while servers are killed and restarted.
//
// Clients send requests of all shapes over a small key space and record calls, answers and times. Watchers record
// every response. Afterwards three checkers judge the record:
//
//   - Replay: a watch of everything from revision 1 is the total order of the writes. Each acknowledged request is
//     applied to a model of etcd at its revision, and the answer must equal the model's in every field. Every revision
//     from 2 on exists and belongs to exactly one request (acknowledged, or of unknown outcome) or to an expired or
//     revoked lease; every acknowledged write has its revision; real time and revisions agree.
//   - Linear: porcupine searches an order of the requests that explains all answers. A request of unknown outcome may
//     take effect at any time after its call.
//   - Watches: events come in order, once, all of them, whole revisions at a time; prev_kv and the revisions in them
//     are right; no event follows a progress notification that covers it; a watch resumed after the last event or
//     progress notification misses nothing.
//
// The outcome of a failed request is unknown unless the error says that the server refused it: Unavailable,
// DeadlineExceeded and all other codes of a broken connection may follow a commit.
//
// A run may have any number of servers on one store, and any disturbance instead of SIGKILL: package faults disturbs
// replicas on a database server. When the database itself goes back in time, the record is split into two histories
// at the revision to which the servers jump, and each is checked by itself.
//
// The victim is one Stele, two of them on one file, or an etcd, which verifies the checkers against the reference.
// Histories with one injected fault show that the checkers find faults.
//
// Environment: STELE_TEST_CRASH_DURATION, the length of each run (10 to 25 s), STELE_TEST_CRASH_SEED, and the variables
// of package stele. With -artifacts, windows that are not linearizable are kept as porcupine's pages.
package crash
