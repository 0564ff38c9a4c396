package postgres

import (
	"context"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/drivers/internal/driver"
	"github.com/stele-db/stele/drivers/internal/migrations"
	"github.com/stele-db/stele/logstructured/log"
)

func mustOpen(t testing.TB, dsn string) *Log {
	t.Helper()
	l, err := Open(context.Background(), dsn, driver.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return l
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// execute runs statements as the superuser of a server, in the database, or in that of the server's DSN if database is
// empty.
func execute(t testing.TB, s *database.Server, in string, statements ...string) {
	t.Helper()
	dsn := s.Env(t, "ADMIN_DSN_1")
	if in != "" {
		dsn = s.In(dsn, in)
	}
	ctx := within(t, 10*time.Second)
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(ctx) }()
	for _, sql := range statements {
		if _, err := c.Exec(ctx, sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// databaseOf returns the name of the database in a DSN.
func databaseOf(t testing.TB, dsn string) string {
	t.Helper()
	cfg, err := parseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return cfg.pool.ConnConfig.Database
}

func withOption(dsn, option string) string {
	if strings.Contains(dsn, "?") {
		return dsn + "&" + option
	}
	return dsn + "?" + option
}

func onePut(value string) []log.Entry {
	return []log.Entry{{Kind: log.KindPut, Revision: 2, Key: []byte("key"), Value: []byte(value), CreateRevision: 2,
		Version: 1}}
}

func mustEnd(t testing.TB, l *Log) log.End {
	t.Helper()
	end, err := l.End(within(t, 10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return end
}

func TestOpenCreatesTheDatabase(t *testing.T) {
	s := database.Shared(t, kind())
	name := "made_by_open"
	execute(t, s, "", "CREATE ROLE maker LOGIN CREATEDB PASSWORD 'maker'")
	t.Cleanup(func() { execute(t, s, "", "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)", "DROP ROLE maker") })
	dsn := as(t, s.In(s.Env(t, "DSN"), name), "maker", "maker")
	// Several replicas start concurrently.
	logs := make([]*Log, 4)
	logger, messages := logtest.NewNullLogger()
	var wg sync.WaitGroup
	for i := range logs {
		wg.Go(func() {
			var err error
			if logs[i], err = Open(within(t, 30*time.Second), dsn,
				driver.Options{Logger: logrus.NewEntry(logger)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if !slices.ContainsFunc(messages.AllEntries(), func(e *logrus.Entry) bool {
		return e.Level == logrus.WarnLevel && strings.Contains(e.Message, "did not exist") && e.Data["database"] == name
	}) {
		t.Error("no warning of the database that was created")
	}
	clusters := map[uint64]bool{}
	for _, l := range logs {
		if l == nil {
			continue
		}
		if clusters[mustEnd(t, l).ClusterID] = true; len(clusters) != 1 {
			t.Error("replicas that started together have different stores")
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

// as replaces the user of a DSN.
func as(t testing.TB, dsn, user, password string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(user, password)
	return u.String()
}

func TestMissingRightsNameTheStatement(t *testing.T) {
	s := database.Shared(t, kind())
	name := s.Database(t)
	execute(t, s, name, "CREATE ROLE guest LOGIN PASSWORD 'secret'", "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
	t.Cleanup(func() { execute(t, s, name, "DROP OWNED BY guest", "DROP ROLE guest") })
	dsn := as(t, s.In(s.Env(t, "DSN"), name), "guest", "secret")
	open := func(dsn string) error {
		l, err := Open(within(t, 10*time.Second), dsn, driver.Options{Logger: quiet()})
		if err == nil {
			t.Cleanup(func() { _ = l.Close() })
		}
		return err
	}
	for what, test := range map[string]struct{ dsn, want string }{
		"tables":   {dsn, "CREATE TABLE IF NOT EXISTS stele_schema"},
		"schema":   {withOption(dsn, "search_path=apart"), `CREATE SCHEMA IF NOT EXISTS "apart"`},
		"database": {s.In(dsn, "missing"), `CREATE DATABASE "missing"`},
		"option":   {withOption(dsn, "no_such_option=1"), "option of the endpoint"},
		"value":    {withOption(dsn, "work_mem=much"), "option of the endpoint"},
		"fixed":    {withOption(dsn, "max_connections=9"), "option of the endpoint"},
		"password": {strings.Replace(dsn, "guest:secret", "guest:wrong", 1), "authentication"},
	} {
		err := open(test.dsn)
		if err == nil || !strings.Contains(err.Error(), test.want) || !errors.Is(err, connect.ErrConfiguration) ||
			strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want an error of the configuration that names %q", what, err, test.want)
		}
	}
	// The administrator runs the statements of Schema, and grants only the necessary privileges.
	statements, err := Schema(dsn)
	if err != nil {
		t.Fatal(err)
	}
	if want := `CREATE DATABASE "` + name + `"`; statements[0] != want {
		t.Errorf("the first statement is %q, want %q", statements[0], want)
	}
	execute(t, s, name, statements[1:]...)
	execute(t, s, name, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO guest")
	if err := open(dsn); err != nil {
		t.Errorf("after the administrator made the tables: %v", err)
	}
}

// TestOwnedSchema opens the log as a role that owns the schema of search_path and may not create another one.
func TestOwnedSchema(t *testing.T) {
	s := database.Shared(t, kind())
	name := s.Database(t)
	execute(t, s, name, "CREATE ROLE tenant LOGIN PASSWORD 'tenant'", "CREATE SCHEMA rented AUTHORIZATION tenant")
	t.Cleanup(func() { execute(t, s, name, "DROP OWNED BY tenant", "DROP ROLE tenant") })
	dsn := withOption(as(t, s.In(s.Env(t, "DSN"), name), "tenant", "tenant"), "search_path=rented")
	l, err := Open(within(t, 10*time.Second), dsn, driver.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	mustEnd(t, l)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// TestTwoLogsInOneDatabase opens logs with another prefix and in another schema in addition to the default one.
func TestTwoLogsInOneDatabase(t *testing.T) {
	dsn := database.Shared(t, kind()).DSN(t)
	logs := []*Log{
		mustOpen(t, dsn),
		mustOpen(t, withOption(dsn, "table_prefix=other_40_letters_is_the_most_there_can_b")),
		mustOpen(t, withOption(dsn, "search_path=apart")),
	}
	clusters := map[uint64]bool{}
	for i, l := range logs {
		clusters[mustEnd(t, l).ClusterID] = true
		for n := range i + 1 {
			if err := l.Append(within(t, 10*time.Second), mustEnd(t, l).Head, log.AppendID(n+1),
				onePut("v")); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, l := range logs {
		if end := mustEnd(t, l); int(end.Position) != i+1 {
			t.Errorf("log %d ends at %v, want %d", i, end.Head, i+1)
		}
	}
	if len(clusters) != len(logs) {
		t.Errorf("%d logs have %d cluster IDs", len(logs), len(clusters))
	}
}

// TestRollingUpgrade runs this version and one that knows one migration more on the same log.
func TestRollingUpgrade(t *testing.T) {
	dsn := database.Shared(t, kind()).DSN(t)
	cfg := func() *config {
		cfg, err := parseDSN(dsn)
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	ctx := within(t, 20*time.Second)
	older := mustOpen(t, dsn)
	if err := older.Append(ctx, log.Head{}, 1, onePut("before")); err != nil {
		t.Fatal(err)
	}
	newer := append(slices.Clone(migrationList), migrations.Migration{Compatible: 1, Statements: migrations.Split(`
ALTER TABLE {prefix}_log ADD COLUMN IF NOT EXISTS more bigint NOT NULL DEFAULT 7;

CREATE TABLE IF NOT EXISTS {prefix}_more (id bigint);
`)})
	upgraded, err := open(ctx, cfg(), quiet(), newer)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = upgraded.Close() }()
	restarted := mustOpen(t, dsn) // an older version restarts
	head := log.Head{Position: 1, ID: 1}
	for n, l := range []*Log{older, upgraded, restarted, older} {
		id := log.AppendID(n + 2)
		if err := l.Append(ctx, head, id, onePut("after")); err != nil {
			t.Fatalf("append %d: %v", n, err)
		}
		head = log.Head{Position: head.Position + 1, ID: id}
		for _, reader := range []*Log{older, upgraded, restarted} {
			if entries, end, err := reader.Read(ctx, 0, 10); err != nil || end.Head != head || len(entries) != n+2 ||
				string(entries[n+1].Value) != "after" {
				t.Fatalf("after append %d: %d entries, %v, %v", n, len(entries), end.Head, err)
			}
		}
	}
	if _, err := older.Scan(ctx, 0, func([]log.Entry) error { return nil }); err != nil {
		t.Errorf("Scan: %v", err)
	}

	// A migration that older versions cannot use makes them refuse to open.
	breaking := newer[len(newer)-1]
	breaking.Statements, breaking.Compatible = nil, len(newer)+1
	last, err := open(ctx, cfg(), quiet(), append(newer[:len(newer):len(newer)], breaking))
	if err != nil {
		t.Fatal(err)
	}
	if err := last.Close(); err != nil {
		t.Error(err)
	}
	for _, list := range [][]migrations.Migration{migrationList, newer} {
		l, err := open(ctx, cfg(), quiet(), list)
		if err == nil || !strings.Contains(err.Error(), "newer version") || !errors.Is(err, connect.ErrConfiguration) {
			t.Errorf("a version that is too old: %v", err)
			if err == nil {
				_ = l.Close()
			}
		}
	}
}

func TestOpenOfAnUnreachableServerReturns(t *testing.T) {
	// One port refuses connections, and the other accepts them and sends nothing.
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	for _, address := range []string{closed.Addr().String(), silent.Addr().String()} {
		start := time.Now()
		_, err := Open(context.Background(), "postgres://u:p@"+address+"/db?connect_timeout=1",
			driver.Options{Logger: quiet()})
		if took := time.Since(start); err == nil || took > 5*time.Second || errors.Is(err, connect.ErrConfiguration) {
			t.Errorf("Open: %v after %v, want an error that may pass, soon", err, took)
		}
	}
}

func TestPoolerIsDetected(t *testing.T) {
	l := mustOpen(t, database.Shared(t, kind()).DSN(t))
	if l.pooled.Load() {
		t.Error("a server is taken for a pooler")
	}
	l = mustOpen(t, withOption(database.Shared(t, kind()).DSN(t), "pooler=transaction"))
	if !l.pooled.Load() {
		t.Error("the option is not heeded")
	}
	l = mustOpen(t, database.Shared(t, database.PgBouncer).DSN(t))
	if !l.pooled.Load() {
		t.Error("PgBouncer is not found out")
	}
	if err := l.Listen(context.Background(), func() { t.Error("woken through a pooler") }); err == nil {
		t.Error("Listen through a pooler")
	}
}

func TestReadOnlyServer(t *testing.T) {
	s := database.Shared(t, kind())
	dsn := s.DSN(t)
	l := mustOpen(t, dsn)
	ctx := within(t, 20*time.Second)
	if err := l.Append(ctx, log.Head{}, 1, onePut("v")); err != nil {
		t.Fatal(err)
	}
	// New sessions, and those whose parameter the server reports, take no writes.
	name := databaseOf(t, dsn)
	execute(t, s, name, "ALTER DATABASE "+name+" SET default_transaction_read_only = on",
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+name+"' AND pid <> pg_backend_pid()")
	head := log.Head{Position: 1, ID: 1}
	for range 3 { // the first may find its connection gone
		err := l.Append(ctx, head, 2, onePut("w"))
		if err == nil || errors.Is(err, log.ErrConflict) {
			t.Fatalf("Append: %v", err)
		}
	}
	if err := l.Append(ctx, head, 2, onePut("w")); !errors.Is(err, log.ErrReadOnly) {
		t.Errorf("Append: %v, want read-only", err)
	}
	if _, err := l.End(ctx); !errors.Is(err, log.ErrReadOnly) {
		t.Errorf("End: %v, want read-only", err)
	}
	execute(t, s, "", "ALTER DATABASE "+name+" RESET default_transaction_read_only")
	if err := l.Append(ctx, head, 2, onePut("w")); err != nil {
		t.Errorf("Append once the server takes writes again: %v", err)
	}
}

// TestMigrationWaitsBriefly adds the column of checksums to a table that a transaction reads. Appends of an older
// version continue between the attempts.
func TestMigrationWaitsBriefly(t *testing.T) {
	t.Parallel()
	s := database.Shared(t, kind())
	dsn := s.DSN(t)
	ctx := within(t, 60*time.Second)
	mustOpen(t, dsn)
	execute(t, s, databaseOf(t, dsn), `ALTER TABLE stele_log DROP COLUMN checksum`,
		`UPDATE stele_schema SET version = 1`)
	reader, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close(ctx) }()
	if _, err := reader.Exec(ctx, `BEGIN`); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Exec(ctx, `SELECT count(*) FROM stele_log`); err != nil {
		t.Fatal(err)
	}
	opened := make(chan error, 1)
	go func() {
		l, err := Open(ctx, dsn, driver.Options{Logger: quiet()})
		if err == nil {
			err = l.Close()
		}
		opened <- err
	}()
	// The migration waits for the reader, and this statement for the migration, until the migration pauses.
	other, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close(ctx) }()
	for waiting := 0; waiting == 0; {
		const locks = `SELECT count(*) FROM pg_locks WHERE relation = 'stele_log'::regclass AND NOT granted`
		if err := other.QueryRow(ctx, locks).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := other.Exec(ctx, `UPDATE stele_log SET id = id WHERE false`); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Exec(ctx, `COMMIT`); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Error(err)
	}
}
