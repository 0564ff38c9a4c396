// Command bench compares Stele with etcd and kine, side by side on one machine.
//
// It builds the servers, starts each as a separate process on loopback with an empty data directory on the same disk,
// and drives them with the same raw gRPC client in alternating rounds. Only ratios of figures taken within minutes on
// one machine are meaningful; absolute figures are not portable. README.md describes how to run it and how to read its
// output.
//
// Its rules:
//
//   - Equal work. Every server gets the same bytes in the same order of rounds; a server that cannot run a workload has
//     no row rather than an easier one.
//   - Equal databases. Each server that needs a database server has one of its own, with the same settings, and the
//     resources of the database count as the server's.
//   - Equal durability. A row whose server does not sync each commit is labelled, and strace counts the syncs.
//   - Right answers. The revision must have grown by exactly the acknowledged writes, every event must have arrived
//     once and in order, every list must be complete; otherwise the slot fails and has no figure.
//   - A cheap client. Requests are prepared and reused, big answers are scanned and not decoded.
//
// Terms: a contender is a server that can be compared, alone or as several replicas; a comparison is a group of
// contenders that run side by side; a target is a running contender; a workload is the kind of requests; and a slot is
// one workload on one target in one round.
package main
