//go:build !race

package drivertest

// hugeRows is the size of the append that represents a DeleteRange of a million keys.
const hugeRows = 1_000_000

// deleteRows is the number of rows of a slow Delete.
const deleteRows = 200_000

// cancelRows is the size of an append that takes long enough to be canceled in progress.
const cancelRows = 1000

// holeRows is the size of the log whose rows are deleted during reads. It is a multiple of 6.
const holeRows = 12_000

// largeRows is the size of a transaction of 100 MiB.
const largeRows = 90
