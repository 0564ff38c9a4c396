// Package crash checks what etcd promises about concurrent clients and watchers while the server is killed by
// SIGKILL and started again, over and over.
//
// Clients send requests of all shapes over a small key space and record calls, answers and times; watchers record
// every response. Afterwards three checkers judge the record:
//
//   - Replay: a watch of everything from revision 1 is the total order of the writes. Each acknowledged request is
//     applied to a model of etcd at its revision, and the answer must be the model's to the last field. Every revision
//     from 2 on exists and belongs to exactly one request (acknowledged, or of unknown outcome) or to an expired
//     lease (or is the revocation of one); every acknowledged write has its revision; real time and revisions agree.
//   - Linear: porcupine searches an order of the requests that explains all answers. A request of unknown outcome may take
//     effect at any time after its call.
//   - Watches: events come in order, once, all of them, whole revisions at a time; prev_kv and the revisions in them
//     are right; no event follows a progress notification that covers it; a watch resumed after the last event or
//     progress notification misses nothing.
//
// A request is of unknown outcome unless the answer says that it was refused: Unavailable, DeadlineExceeded and all the
// other codes by which a connection dies may follow a commit.
//
// A run may have any number of servers on one store, and any disturbance instead of SIGKILL: package faults has those
// of replicas on a database server. When the database itself goes back in time, the record is split into two histories
// at the revision to which the servers jump, and each is judged by itself.
//
// The victim is a process of its own: one stele, two of them on one file, or an etcd, which shows that the checkers
// hold the reference itself to be right. That they find something is shown by histories with one fault put in.
//
// Environment: STELE_TEST_CRASH_DURATION, the length of each run (10 to 25 s), STELE_TEST_CRASH_SEED, and what package
// stele documents. With -artifacts, windows that are not linearizable are kept as porcupine's pages.
package crash
