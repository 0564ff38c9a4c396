// Command bench compares Stele with etcd and kine, side by side on one machine.
//
// It builds the servers, starts each as a process of its own on loopback with an empty data directory on the same disk,
// and drives them with one and the same raw gRPC client in alternating rounds: only ratios taken minutes apart on one
// machine mean anything, absolute figures do not travel. README.md says how to run it and how to read what it prints.
//
// What it keeps to:
//
//   - Equal work. Every server gets the same bytes in the same order of rounds; a server that cannot do a
//     workload has no row rather than an easier one.
//   - Equal databases. Each server that needs a database server has one of its own, with the same settings, and what that
//     consumes is counted as the server's.
//   - Equal durability. A row whose server does not sync each commit is labelled, and strace counts the syncs.
//   - Right answers. The revision must have moved by exactly the writes that were acknowledged, every event must have
//     arrived once and in order, every list must hold what it should; otherwise the slot is a failure, not a figure.
//   - A cheap client. Requests are prepared and reused, big answers are scanned and not decoded.
//
// The words: a contender is a server that can be compared, alone or as several replicas; a comparison is contenders
// that run side by side, a target is one that runs, a workload is what is measured, and a slot is one workload on one
// target in one round.
package main
