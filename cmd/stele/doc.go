// Command stele serves the etcd v3 API from a SQL database, or from an embedded SQLite file.
//
// The command handles signals, flags and wiring, and nothing else. Its invariants:
//
//   - The command opens no database before it has checked every flag and bound the address of the client port.
//   - Every configuration error is one sentence that names the flag or the environment variable, and the fix.
//   - A flag of kine either works or has no effect and logs a warning with the reason. It is never an error.
//   - The client port serves plain text to other machines only if a flag allows it.
//   - The first SIGINT or SIGTERM stops gracefully, the second one immediately.
package main
