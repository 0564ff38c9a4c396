// Package mysql stores the log in a database that speaks MySQL's protocol. It supports MariaDB 10.6 or later, MySQL 8.0
// or later, Galera clusters of either, and TiDB. DESIGN.md lists the versions that were tested.
//
// # Invariants
//
//   - An append is one autocommit INSERT that carries its own precondition (the conditional INSERT). The position of
//     its first row is computed: if the log's head is not the one that the append names, it is the position of the
//     sentinel, a row that always exists at position 0. A failed precondition is therefore always a duplicate key
//     (error 1062), in every SQL mode. If the precondition holds for two concurrent appends, the primary key admits
//     only one of them.
//   - No statement writes to a server that has read_only on, whatever the user's privileges: every statement that
//     writes checks read_only itself.
//   - The head of the log is its newest row, which is never deleted. The sentinel is never deleted either; it is not an
//     entry and is never returned.
//   - An append that does not fit into one statement is a transaction that begins with the conditional INSERT. Nothing
//     takes effect before COMMIT, so until COMMIT is sent every error is a definite failure.
//   - Sessions do not depend on the server's defaults (settings.go): strict mode, READ COMMITTED, UTC, bytes instead
//     of characters.
//   - Times come from the server's clock (UTC_TIMESTAMP), which is the same for all rows of a statement.
//   - Statements that append are sent once. Neither this package nor the driver repeats one whose outcome is unknown,
//     with one exception on TiDB (see below).
//   - Errors of the server are classified by number (errors.go). An error that is not classified is [log.ErrUnknown].
//   - The differences between MySQL, Galera and TiDB are in engines (engine.go). Each connection has one.
//
// # Galera
//
// On a node of a Galera cluster, SELECT, UPDATE and DELETE wait until the node has applied all earlier commits of the
// cluster (wsrep_sync_wait), so that End, Read and Confirm see every append that any node has acknowledged. INSERT does
// not wait, because the cluster certifies it at commit. If the precondition of an INSERT fails, the driver reads the
// head with such a wait to find out whether the node only lagged, and retries if it did. If the cluster rejects an
// INSERT (error 1213), the driver reads the entry after the head. The append is a conflict if that entry is from
// another append; otherwise its outcome is unknown.
//
// # TiDB
//
// TiDB ends an INSERT with error 9007 where other servers wait for the concurrent transaction, even if that transaction
// is rolled back later. If there is no entry after the head, the driver retries. If the first attempt took effect after
// all, the retry fails on its own row; the outcome is then unknown, not a conflict.
//
// # Limits
//
// Keys and values are limited by the server's max_allowed_packet less about 4 KiB. Open refuses a server whose limit is
// below the largest value of a request. An append of up to 6,553 entries that fit into one packet is one statement and
// one round trip. A larger append takes several statements in one transaction, limited only by the server (undo space;
// wsrep_max_ws_size, 2 GiB, on Galera; txn-total-size-limit, 100 MiB, on TiDB). While such a transaction is open,
// appends of other replicas wait for up to 10 s. The server ends the transaction if its client sends nothing for 10 s.
//
// # DSN
//
// mysql://user:password@tcp(host:port)/database?option=value, as in kine, with the options of
// github.com/go-sql-driver/mysql, or with unix(/path) instead of tcp(...). The default database is "kubernetes", and
// "mysql://" is kine's default server. Several addresses, as in tcp(a:3306,b:3306), are tried in order; they must
// belong to one cluster. Stele's own options:
//
//	server_name=HOST     The name in the server's certificate, if it is not the host of the DSN.
//	table_prefix=stele   Names of the tables begin with it and _, so that several logs can share a database.
//
// Any other option is a system variable to set. The driver overrides some options: it never interpolates parameters,
// and the charset is binary.
//
// # Privileges
//
// Open creates the database and the tables if they are missing. If they exist (see [Schema]), SELECT, INSERT, UPDATE
// and DELETE suffice; Defragment also needs the privileges of OPTIMIZE TABLE. With PROCESS, Size is exact instead of an
// estimate.
package mysql
