// Package stele builds cmd/stele and runs it as a process of its own.
//
//   - The binary is built once per test process, with the race detector exactly when the test has it or Options ask
//     for it, and each server keeps its own link to it: a restart never runs another build than the start.
//   - A server keeps its address, its data directory and its arguments from start to restart.
//   - Every process is waited for: none survives its test.
//   - A data race reported by the server, or an exit code other than 0 after a graceful stop, fails the test; a failed test
//     prints the end of the server's log.
//
// Environment: STELE_TEST_BINARY names a binary to run instead of building one; STELE_TEST_ENDPOINT is the DSN of
// the database instead of a SQLite file in the server's directory; STELE_TEST_LOG=1 prints the log of every server.
package stele
