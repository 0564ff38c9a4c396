// Package process builds a server and runs it as a process of its own.
//
//   - A binary is built once per test process, and each server keeps its own link to it: a restart never runs another
//     build than the start.
//   - A server keeps its address, its data directory and its arguments from start to restart.
//   - Every process is waited for: none outlives its test, even if the test process is killed.
//   - A data race reported by the server, or an exit code other than 0 after a graceful stop, fails the test; a failed
//     test prints the end of the server's log. STELE_TEST_LOG=1 prints the log of every server.
package process
