package postgres

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"

	"github.com/stele-db/stele/drivers/drivertest"
	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/drivers/drivertest/proxy"
	"github.com/stele-db/stele/drivers/internal/driver"
	"github.com/stele-db/stele/logstructured/log"
)

// hostileSettings are settings of a role that would break the driver. The test skips those that the server lacks.
var hostileSettings = map[string]string{
	"statement_timeout": "50ms", "lock_timeout": "1ms", "idle_in_transaction_session_timeout": "1ms",
	"idle_session_timeout": "500ms", "transaction_timeout": "50ms", "client_connection_check_interval": "1ms",
	"default_transaction_isolation": "serializable", "default_transaction_deferrable": "on", "exit_on_error": "on",
	"row_security": "on", "synchronous_commit": "off", "client_min_messages": "error",
	"plan_cache_mode": "force_custom_plan", "enable_indexscan": "off", "enable_indexonlyscan": "off",
	"enable_bitmapscan": "off", "enable_nestloop": "off", "enable_sort": "on", "enable_material": "off",
	"enable_hashjoin": "off", "enable_mergejoin": "off", "jit": "on", "jit_above_cost": "1",
	"force_parallel_mode": "on", "debug_parallel_query": "on", "max_parallel_workers_per_gather": "8",
	"random_page_cost": "1000000", "work_mem": "64kB", "join_collapse_limit": "1", "cursor_tuple_fraction": "1",
	"constraint_exclusion": "on", "client_encoding": "SQL_ASCII", "standard_conforming_strings": "off",
	"bytea_output": "escape", "datestyle": "SQL, DMY", "intervalstyle": "sql_standard", "timezone": "Asia/Kathmandu",
	"extra_float_digits": "-15", "lc_messages": "C", "transform_null_equals": "on", "array_nulls": "off",
	"session_replication_role": "replica", "log_statement": "none", "check_function_bodies": "off",
	"default_toast_compression": "pglz", "quote_all_identifiers": "on", "search_path": `public, "$user"`,
	"application_name": "other", "default_statistics_target": "1", "temp_file_limit": "0",
}

// hostile creates a role with all hostile settings, and returns a function that returns the DSN of a new database for
// it.
func hostile(t *testing.T, s *database.Server, role string, but ...string) (dsn func(testing.TB) string) {
	t.Helper()
	execute(t, s, "", "CREATE ROLE "+role+" LOGIN PASSWORD 'secret' IN ROLE stele")
	t.Cleanup(func() { execute(t, s, "", "DROP ROLE "+role) })
	ctx := within(t, 10*time.Second)
	c, err := pgx.Connect(ctx, s.Env(t, "ADMIN_DSN_1"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(ctx) }()
	set := 0
	for name, value := range hostileSettings {
		var exists bool
		if err := c.QueryRow(ctx, "SELECT current_setting($1, true) IS NOT NULL", name).Scan(&exists); err != nil {
			t.Fatal(err)
		}
		if !exists || slices.Contains(but, name) {
			continue
		}
		if name != "search_path" {
			value = "'" + value + "'"
		}
		if _, err := c.Exec(ctx, "ALTER ROLE "+role+" SET "+name+" = "+value); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		set++
	}
	if set < 30 {
		t.Errorf("the server has only %d of the settings", set)
	}
	return func(t testing.TB) string { return as(t, s.DSN(t), role, "secret") }
}

// TestHostileSettings runs as a role whose settings would break the driver.
func TestHostileSettings(t *testing.T) {
	t.Parallel()
	s := database.Shared(t, kind())
	dsn := hostile(t, s, "hostile")
	t.Run("Suite", func(t *testing.T) {
		drivertest.Run(t, drivertest.Harness{
			Only: drivertest.Essentials,
			New:  func(t testing.TB) func(testing.TB) log.Log { return opening(dsn(t)) },
			Through: func(t testing.TB) (through, direct func(testing.TB) log.Log, p *proxy.Proxy) {
				p = proxy.Start(t, s.Address(1))
				dsn := dsn(t)
				return opening(throughProxy(t, dsn, s.Address(1), p)), opening(dsn), p
			},
			Notifies: true,
		})
	})
	t.Run("LongStatements", func(t *testing.T) { longerThanLimits(t, mustOpen(t, dsn(t))) })
}

// longerThanLimits appends and scans so many entries that both take longer than the time limits of the role.
func longerThanLimits(t *testing.T, l *Log) {
	t.Helper()
	ctx := within(t, time.Minute)
	const n = 100_000
	entries := make([]log.Entry, n)
	for i := range entries {
		entries[i] = log.Entry{Kind: log.KindPut, Revision: 2, Sub: int64(i), Key: []byte("key"),
			Value: []byte("value"), CreateRevision: 2, Version: 1}
	}
	var head log.Head
	for _, part := range [][]log.Entry{entries[:1000], entries[1000:]} {
		start := time.Now()
		if err := l.Append(ctx, head, head.ID+1, part); err != nil {
			t.Fatalf("Append of %d entries, after %v: %v", len(part), time.Since(start), err)
		}
		head = log.Head{Position: head.Position + log.Position(len(part)), ID: head.ID + 1}
	}
	seen := 0
	start := time.Now()
	if _, err := l.Scan(ctx, 0, func(batch []log.Entry) error { seen += len(batch); return nil }); err != nil ||
		seen != n {
		t.Errorf("Scan: %d entries, %v", seen, err)
	}
	if took := time.Since(start); took < 50*time.Millisecond {
		t.Errorf("a scan takes %v, which is within the limit: that was no test", took)
	}
}

// TestHostileSettingsBehindAPooler scans for longer than the role's limit, and expects a warning.
func TestHostileSettingsBehindAPooler(t *testing.T) {
	t.Parallel()
	s := database.Shared(t, kind())
	dsn := withOption(hostile(t, s, "hostile_pooled", "statement_timeout", "lock_timeout", "transaction_timeout",
		"idle_session_timeout", "exit_on_error", "jit_above_cost")(t), "pooler=transaction")
	l := mustOpen(t, dsn)
	ctx := within(t, time.Minute)
	entries := make([]log.Entry, 100_000)
	for i := range entries {
		entries[i] = log.Entry{Kind: log.KindTombstone, Revision: 2, Sub: int64(i), Key: make([]byte, 200)}
	}
	if err := l.Append(ctx, log.Head{}, 1, entries); err != nil {
		t.Fatal(err)
	}
	execute(t, s, "", "ALTER ROLE hostile_pooled SET statement_timeout = '300ms'",
		"ALTER ROLE hostile_pooled SET lock_timeout = '5s'")
	logger, messages := test.NewNullLogger()
	pooled, err := Open(context.Background(), dsn, driver.Options{Logger: logrus.NewEntry(logger)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pooled.Close() }()
	seen := 0
	if _, err := pooled.Scan(ctx, 0, func(batch []log.Entry) error {
		if seen == 0 { // the server waits until it can send more
			execute(t, s, "", "SELECT pg_sleep(0.5)")
		}
		seen += len(batch)
		return nil
	}); err != nil || seen != len(entries) {
		t.Errorf("Scan: %d entries, %v", seen, err)
	}
	if e := messages.LastEntry(); e == nil || e.Level != logrus.WarnLevel ||
		e.Data["limits"] != "lock_timeout=5s, statement_timeout=300ms" {
		t.Errorf("warned: %+v", e)
	}
	// The limit is in force: the server ends another statement of the session.
	if err := pooled.request(ctx, "sleep", pooled.others, func(ctx context.Context, c *pgconn.PgConn) error {
		return pooled.rows(ctx, c, &query{name: "sleep", sql: "SELECT pg_sleep(5)"}, nil,
			func([][]byte) error { return nil })
	}); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a long statement: %v", err)
	}
}
