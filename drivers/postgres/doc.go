// Package postgres stores the log in a PostgreSQL database (13 or later), using pgx's native interface.
//
// # Invariants
//
//   - An append is one autocommit statement in one round trip, on a connection of its own. It updates the head row if
//     that row is the expected one, and inserts the rows only if the update took place. No client ever holds a lock
//     between two messages.
//   - The end of the log is the single row of PREFIX_head. Each append updates it and inserts its rows in one
//     transaction.
//   - An append reports only an outcome that the server has confirmed. If the server did not answer, or warned that it
//     had stopped waiting for a standby, the outcome is unknown (errors.go). A request that was not sent completely has
//     failed.
//   - Durability is a property of the statement, not of the session: settings of a role, a database or another client
//     of a pooled connection do not weaken it.
//   - End answers only from a server that takes writes. If commits wait for a standby (synchronous_standby_names), End
//     also commits, because a primary that was replaced by that standby can still be read.
//   - All other reads fetch the end of the log in the same statement or the same snapshot.
//   - No error contains the password.
//
// An append carries at most 1 GiB less 64 KiB of keys, values and 74 bytes per entry, because one message of the
// protocol is limited to 1 GiB; a larger append fails with [log.ErrTooLarge]. It needs about three times its size in
// memory here, and as much on the server.
//
// # DSN
//
// postgres://user:password@host:port/database?option=value, as in libpq, including several hosts and sockets. Special
// characters are percent-encoded. The default database is "kubernetes". Stele's own options:
//
//	table_prefix=NAME     The tables are NAME_log, NAME_head, NAME_schema and NAME_replica; the default is stele.
//	pooler=transaction    A pooler may give each transaction any connection. Most poolers are detected without it.
//
// Other options go to pgx (sslmode, connect_timeout, pool_max_conns...) or, as settings, to the server
// (search_path...). The settings that every session needs override them: for example, there are no time limits
// (session.go). If search_path begins with a plain name, the tables are in that schema, which is created. A connection
// is used only if its server takes writes, whatever target_session_attrs says. With several hosts this finds the
// primary.
//
// # Poolers
//
// PgBouncer and similar poolers in transaction mode are detected because another server process answers than the one
// that the connection announced. The driver then prepares nothing, does not LISTEN (the store polls), does not rely on
// session settings, and cancels no statements: a call whose context ends waits up to a second for the answer. A DSN
// must not mix two poolers or servers.
//
// # Other databases that speak PostgreSQL's protocol
//
// CockroachDB and YugabyteDB are meant to work: the driver uses no advisory locks and no DDL in transactions, retries
// statements after serialization failures, and does without notifications where there are none. They are not tested.
package postgres
