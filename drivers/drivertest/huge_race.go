//go:build race

package drivertest

// hugeRows is less under the race detector, which slows a database inside the process (SQLite) down fifteen times.
const hugeRows = 10_000

// deleteRows is the size of a Delete that takes a while.
const deleteRows = 5_000

// cancelRows is the size of an append that takes long enough to be canceled on its way.
const cancelRows = 150

// holeRows is the size of the log that rows are deleted from while others read it. It is a multiple of 6.
const holeRows = 3_000

// largeRows is the size of a transaction that does not fit into one of the packets that MySQL takes. It is of 100 MiB
// without the race detector.
const largeRows = 25
