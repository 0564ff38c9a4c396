// Package mysql keeps the log in a database that speaks MySQL's protocol: MariaDB from 10.6 on, MySQL from 8.0 on,
// Galera clusters of either, and TiDB. DESIGN.md says on which of them it was run.
//
// # Invariants
//
//   - An append is one autocommit INSERT that carries its own guard: the position of its first row is computed, and is that of the sentinel, a row
//     that always stands at position 0, if the log does not end at the head that the append names. So a guard that fails is always a duplicate key (error 1062), whatever
//     mode the server is in; and of two that both find their guard in place the primary key lets one through.
//   - No statement writes on a server whose read_only is on, whatever the privileges of the user: each carries that check.
//   - The end of the log is its newest row, which is never deleted. Neither is the sentinel, which is no entry and never returned.
//   - An append that does not fit into one statement is a transaction that begins with the guarded INSERT. Nothing counts before COMMIT: until that is
//     sent, every error is a definite failure.
//   - Sessions do not depend on the server's defaults (connector.go): strict mode, READ COMMITTED, UTC, bytes instead of characters.
//   - Times are the server's clock, UTC_TIMESTAMP, which is the same for all rows of a statement.
//   - Statements for appending are sent once. Neither this package nor the driver sends one again whose outcome is not known, with one exception, on TiDB: below.
//   - Errors of the server are classified by their number (errors.go). In doubt the outcome is [log.ErrUnknown].
//
// # Galera
//
// On a node of a Galera cluster SELECT, UPDATE and DELETE wait until the node has applied what the cluster had
// committed before (wsrep_sync_wait), so that End, Read and Confirm see what any node acknowledged. INSERT does not
// wait: the cluster decides when it commits. If its guard fails, the log asks, waiting, whether the node was only
// behind, and then tries again. A conflict between nodes (error 1213) is a conflict if another append's entry stands at
// the guarded position, and unknown otherwise.
//
// # TiDB
//
// TiDB breaks an INSERT off (error 9007) where others let it wait for another transaction, also if that one is then
// rolled back. If nothing stands at the guarded position, the log tries again. Should the first one have taken effect
// after all, the second one fails on its own row, which is then unknown and not a conflict.
//
// # Limits
//
// Keys and values: max_allowed_packet of the server less about 4 KiB; Open refuses a server where the largest value of
// a request does not fit. An append: up to 6,553 entries that fit into a packet together are one statement and one
// round trip. Beyond that it takes several in one transaction, bounded by the server only (undo space;
// wsrep_max_ws_size, 2 GiB, on Galera; txn-total-size-limit, 100 MiB, on TiDB). While such a transaction is open,
// appends of others wait, up to 10 s; the server ends it if its process is silent for 10 s.
//
// # DSN
//
// mysql://user:password@tcp(host:port)/database?option=value, as kine takes it, with the options of
// github.com/go-sql-driver/mysql, or unix(/path) in place of tcp(...). Without a database it is "kubernetes";
// "mysql://" is kine's default server. Several addresses, tcp(a:3306,b:3306), are tried in turn; they must be of one
// cluster. Options of our own:
//
//	server_name=HOST     The name in the server's certificate, if it is not the host of the DSN.
//	table_prefix=stele   Names of the tables begin with it and _, so that several logs can share a database.
//
// Any other option is a system variable to set. Some are overruled: parameters are never interpolated, and the charset
// is binary.
//
// # Rights
//
// Open creates the database and the tables if they are not there. With those prepared ([Schema]) SELECT, INSERT, UPDATE
// and DELETE are enough, and for Defragment what OPTIMIZE TABLE asks for. With PROCESS, Size is exact instead of an
// estimate.
package mysql
