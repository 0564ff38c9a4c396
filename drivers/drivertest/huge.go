//go:build !race

package drivertest

// hugeRows is the size of the append that stands for a DeleteRange over a million keys.
const hugeRows = 1_000_000

// deleteRows is the size of a Delete that takes a while.
const deleteRows = 200_000

// cancelRows is the size of an append that takes long enough to be canceled on its way.
const cancelRows = 1000

// holeRows is the size of the log that rows are deleted from while others read it. It is a multiple of 6.
const holeRows = 12_000

// largeRows is the size of a transaction of 100 MiB.
const largeRows = 90
