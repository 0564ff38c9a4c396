// Command stele serves the etcd v3 API from a SQL database, or from an embedded SQLite file.
//
// The command is signals, flags and wiring, and nothing else. Its invariants:
//
//   - No data is touched before every flag has been checked and the address to listen on is ours.
//   - Every configuration error is one sentence that names the flag (or the environment variable it came from) and the mend.
//   - A flag of kine's is either honoured or accepted with a warning that says why it has no effect; it never fails.
//   - Plain text is served to other machines only when a flag says so.
//   - The first SIGINT or SIGTERM stops gracefully, the second at once.
package main
