package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// sessionSettings are set in every session and override the server, the database, the role and the DSN. DESIGN.md lists
// what other settings would do.
var sessionSettings = []struct{ name, value string }{
	// A call is limited by its context. The server's limits would end scans. They would also end the wait for a
	// standby, and so make an append visible that is not yet durable.
	{"statement_timeout", "0"},
	{"transaction_timeout", "0"},
	{"idle_in_transaction_session_timeout", "0"},
	{"idle_session_timeout", "0"},
	{"lock_timeout", "0"},
	{"client_connection_check_interval", "0"},
	// An append that waited for a concurrent one must report a conflict instead of a serialization failure.
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_deferrable", "off"},
	// Rows that a policy hides must cause an error instead of a gap.
	{"row_security", "off"},
	// With it, every error would end the connection, and so not prove that its statement failed.
	{"exit_on_error", "off"},
	// Each statement is planned once per connection, using the primary key: a generic plan stays the same when the
	// table grows. Disabling the alternatives raises the estimated cost, for which the server would JIT-compile the
	// statements; that takes a thousand times as long as running them.
	{"plan_cache_mode", "force_generic_plan"},
	{"enable_indexscan", "on"},
	{"enable_indexonlyscan", "on"},
	{"enable_nestloop", "on"},
	{"enable_seqscan", "off"},
	{"enable_sort", "off"},
	{"jit", "off"},
	// Memory for the list of positions of Values.
	{"work_mem", "8MB"},
	{"max_parallel_workers_per_gather", "0"},
	{"force_parallel_mode", "off"},
	{"debug_parallel_query", "off"},
}

// settingsSQL sets those of sessionSettings that the server has, for the session or the transaction. It sets
// statement_timeout and jit first, because they would otherwise apply to the statement that sets the rest.
func settingsSQL(transaction bool) string {
	set, local := "SET", "false"
	if transaction {
		set, local = "SET LOCAL", "true"
	}
	each := make([]string, len(sessionSettings))
	for i, s := range sessionSettings {
		each[i] = fmt.Sprintf(
			"CASE WHEN current_setting('%[1]s', true) IS NOT NULL THEN set_config('%[1]s', '%[2]s', %[3]s) END",
			s.name, s.value, local)
	}
	return set + " statement_timeout = 0; " + set + " jit = off; SELECT " + strings.Join(each, ", ")
}

var sessionSQL, transactionSQL = settingsSQL(false), settingsSQL(true)

// prepareSession makes a session independent of the settings of the server, the database and the role. It does nothing
// behind a pooler, which may give each transaction another session.
func (l *Log) prepareSession(ctx context.Context, c *pgconn.PgConn) error {
	if l.pooled.Load() {
		return nil
	}
	_, err := c.Exec(ctx, sessionSQL).ReadAll()
	if code(err) == "" {
		return err
	}
	// A database other than PostgreSQL lacks or refuses one of the settings.
	for _, s := range sessionSettings {
		if _, err := c.Exec(ctx, "SET "+s.name+" = '"+s.value+"'").ReadAll(); err != nil && code(err) == "" {
			return err
		}
	}
	return nil
}

// warnAboutLimits warns about the time limits of statements that cannot be lifted behind a pooler.
func (l *Log) warnAboutLimits(ctx context.Context, c *pgconn.PgConn) {
	if !l.pooled.Load() {
		return
	}
	names := []string{"lock_timeout", "statement_timeout", "transaction_timeout"}
	var limited []string
	query := `SELECT current_setting('` + strings.Join(names, `', true), current_setting('`) + `', true)`
	result := c.ExecParams(ctx, query, nil, nil, nil, nil)
	for result.NextRow() {
		for i, value := range result.Values() {
			if value != nil && string(value) != "0" {
				limited = append(limited, names[i]+"="+string(value))
			}
		}
	}
	if _, err := result.Close(); err != nil || len(limited) == 0 {
		return // a database that does not know these settings has no such limits
	}
	l.logger.WithField("limits", strings.Join(limited, ", ")).Warn("the server ends statements that take too long, " +
		"and a pooler keeps Stele from lifting that: writes that wait for a standby or for a lock, compaction and " +
		"defragmentation may fail; ALTER ROLE ... SET these limits to 0")
}
