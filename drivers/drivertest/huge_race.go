//go:build race

package drivertest

// hugeRows is smaller under the race detector, which makes an in-process database (SQLite) fifteen times slower.
const hugeRows = 10_000

// deleteRows is the number of rows of a slow Delete.
const deleteRows = 5_000

// cancelRows is the size of an append that takes long enough to be canceled in progress.
const cancelRows = 150

// holeRows is the size of the log whose rows are deleted during reads. It is a multiple of 6.
const holeRows = 3_000

// largeRows is the size of a transaction that does not fit into one packet of MySQL's protocol. Without the race
// detector the transaction has 100 MiB.
const largeRows = 25
