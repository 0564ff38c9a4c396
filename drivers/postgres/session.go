package postgres

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// sessionSettings are set in every session, whatever the server, the database, the role or the DSN has set. DESIGN.md
// goes through the others.
var sessionSettings = []struct{ name, value string }{
	// A call has the time of its context. The server's limits would end scans, and the wait for a standby, whose append
	// is then visible and not safe.
	{"statement_timeout", "0"},
	{"transaction_timeout", "0"},
	{"idle_in_transaction_session_timeout", "0"},
	{"idle_session_timeout", "0"},
	{"lock_timeout", "0"},
	{"client_connection_check_interval", "0"},
	// An append that waited for another one is to find its guard broken, and not to fail.
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_deferrable", "off"},
	// Rows that a policy hides are an error and not a gap.
	{"row_security", "off"},
	// Otherwise an error says nothing certain about its statement.
	{"exit_on_error", "off"},
	// Each statement is planned once for a connection, and by the primary key: a plan for any parameters stays as it is
	// when the table grows. What the others are then counted to cost would have statements compiled, which takes a
	// thousand times as long as running them.
	{"plan_cache_mode", "force_generic_plan"},
	{"enable_indexscan", "on"},
	{"enable_indexonlyscan", "on"},
	{"enable_nestloop", "on"},
	{"enable_seqscan", "off"},
	{"enable_sort", "off"},
	{"jit", "off"},
	// Room for the list of positions of a read of values.
	{"work_mem", "8MB"},
	{"max_parallel_workers_per_gather", "0"},
	{"force_parallel_mode", "off"},
	{"debug_parallel_query", "off"},
}

// settingsSQL sets those of the settings that the server has, for the session or for the transaction. The limit and the
// compiler are out of the way before the rest, which would be the first statement to meet them.
func settingsSQL(transaction bool) string {
	set, local := "SET", "false"
	if transaction {
		set, local = "SET LOCAL", "true"
	}
	each := make([]string, len(sessionSettings))
	for i, s := range sessionSettings {
		each[i] = "CASE WHEN current_setting('" + s.name + "', true) IS NOT NULL THEN set_config('" + s.name + "', '" + s.value + "', " + local + ") END"
	}
	return set + " statement_timeout = 0; " + set + " jit = off; SELECT " + strings.Join(each, ", ")
}

var sessionSQL, transactionSQL = settingsSQL(false), settingsSQL(true)

// prepareSession makes a session independent of what the server, the database and the role have set. It does nothing
// behind a pooler, which gives a transaction any session.
func (l *Log) prepareSession(ctx context.Context, c *pgconn.PgConn) error {
	if l.pooled.Load() {
		return nil
	}
	_, err := c.Exec(ctx, sessionSQL).ReadAll()
	if code(err) == "" {
		return err
	}
	// Another database than PostgreSQL lacks one of them, or refuses it.
	for _, s := range sessionSettings {
		if _, err := c.Exec(ctx, "SET "+s.name+" = '"+s.value+"'").ReadAll(); err != nil && code(err) == "" {
			return err
		}
	}
	return nil
}

// warnAboutLimits names the time limits that hold for each statement because a pooler keeps them from being lifted.
func (l *Log) warnAboutLimits(ctx context.Context, c *pgconn.PgConn) {
	if !l.pooled.Load() {
		return
	}
	names := []string{"lock_timeout", "statement_timeout", "transaction_timeout"}
	var limited []string
	result := c.ExecParams(ctx, `SELECT current_setting('`+strings.Join(names, `', true), current_setting('`)+`', true)`, nil, nil, nil, nil)
	for result.NextRow() {
		for i, value := range result.Values() {
			if value != nil && string(value) != "0" {
				limited = append(limited, names[i]+"="+string(value))
			}
		}
	}
	if _, err := result.Close(); err != nil || len(limited) == 0 {
		return // a database that does not know them has no such limits
	}
	l.logger.WithField("limits", strings.Join(limited, ", ")).Warn("the server ends statements that take too long, and a pooler keeps Stele from lifting that: " +
		"writes that wait for a standby or for a lock, compaction and defragmentation may fail; ALTER ROLE ... SET these limits to 0")
}
