//go:build race

package drivertest

// hugeRows is less under the race detector, which slows a database inside the process (SQLite) down fifteen times.
const hugeRows = 20_000

// deleteRows is the size of a Delete that takes a while.
const deleteRows = 10_000
