// Package postgres keeps the log in a PostgreSQL database (13 or later), by pgx's native interface.
//
// # Invariants
//
//   - An append is one autocommit statement in one round trip, on a connection of its own: it moves the head row on if that is still as
//     expected, and inserts the rows if it did. No client ever holds a lock between two messages.
//   - The end of the log is the one row of PREFIX_head: every change of it and of the rows is one transaction.
//   - What an append tells is the server's word. Without it, or when a warning says that the wait for a standby was broken
//     off, the outcome is unknown (errors.go); a request that was not sent to its end has failed.
//   - Durability is part of the statement and not of the session: settings of a role, a database or another client of a pooled
//     connection do not weaken it.
//   - End answers only on behalf of a server that takes writes; where commits wait for a standby (synchronous_standby_names) End commits
//     something too, because a primary that has lost its place to that standby can still be read.
//   - Everything else reads in one statement, or one snapshot, together with the end.
//   - The password is in no error.
//
// An append carries up to 1 GiB less 64 KiB of keys, values and 74 bytes an entry (the length of one message of the
// protocol); beyond that the error wraps [log.ErrTooLarge]. It takes about three times its size of memory here, and as
// much on the server.
//
// # DSN
//
// postgres://user:password@host:port/database?option=value, as libpq has it, several hosts and sockets included, with
// special characters percent-encoded. Without a database it is "kubernetes". Options of Stele's own:
//
//	table_prefix=NAME     The tables are NAME_log, NAME_head, NAME_schema and NAME_replica; the default is stele.
//	pooler=transaction    A pooler is in between and gives each transaction any connection. Most are found out without.
//
// Others go to pgx (sslmode, connect_timeout, pool_max_conns...) or, as settings, to the server (search_path...), which
// those that every session needs overrule: there are no time limits, for one (session.go). With a search_path that
// begins with a plain name, the tables are in that schema, which is created. A connection is only used if its server
// takes writes, whatever target_session_attrs says; with several hosts that is how the primary is found.
//
// # Poolers
//
// PgBouncer and its like in transaction mode show by answering with another process than the one they promised. Then
// nothing is prepared, nothing is listened to (the store polls), no settings of a session are relied upon, and no
// statement is canceled: a call whose context ends waits up to a second for the answer. Two poolers or servers must not
// be mixed in one DSN.
//
// # What speaks PostgreSQL's protocol
//
// CockroachDB and YugabyteDB are meant to work (no advisory locks, no DDL in transactions, statements that lost a race
// repeated, no notifications where there are none); they are not part of the tests.
package postgres
