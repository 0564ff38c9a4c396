package leases

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"

	"github.com/stele-db/stele/test/internal/stele"
)

// figures are the totals of a server so far.
type figures struct {
	at time.Time
	// appends and entries of the log, statements that the database has executed (0 for a file), and the server's memory
	// in bytes.
	appends, entries, statements, memory float64
}

func (f figures) since(before figures) string {
	return fmt.Sprintf("%v: appends %.0f, entries %.0f, statements of the database %.0f, resident memory %+.0f MiB "+
		"to %.0f MiB",
		f.at.Sub(before.at).Round(10*time.Millisecond), f.appends-before.appends, f.entries-before.entries,
		f.statements-before.statements,
		(f.memory-before.memory)/(1<<20), f.memory/(1<<20))
}

func measure(t *testing.T, s *stele.Server) figures {
	t.Helper()
	f := figures{at: time.Now(), statements: statements(t, s), memory: memory(t, s)}
	resp, err := http.Get("http://" + s.Target + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		n, _ := strconv.ParseFloat(value, 64)
		switch name {
		case "stele_append_duration_seconds_count":
			f.appends = n
		case "stele_append_entries_total":
			f.entries = n
		}
	}
	return f
}

// memory returns the resident memory of the process.
func memory(t *testing.T, s *stele.Server) float64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(status, []byte("VmRSS:"))
	kib, err := strconv.ParseFloat(string(bytes.Fields(rest)[0]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib * 1024
}

// statements returns the number of statements that the database server has executed, of all clients.
func statements(t *testing.T, s *stele.Server) float64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var n float64
	var err error
	switch {
	case strings.HasPrefix(s.Endpoint, "postgres:"):
		n, err = postgresStatements(ctx, s.Endpoint)
	case strings.HasPrefix(s.Endpoint, "mysql:"):
		n, err = mysqlStatements(ctx, s.Endpoint)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// postgresStatements returns the number of transactions, each of which is one statement here. Idle sessions report
// theirs within a second.
func postgresStatements(ctx context.Context, dsn string) (n float64, err error) {
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close(ctx) }()
	err = c.QueryRow(ctx, "SELECT (xact_commit + xact_rollback)::float8 FROM pg_stat_database WHERE datname = "+
		"current_database()").Scan(&n)
	return n, err
}

func mysqlStatements(ctx context.Context, dsn string) (n float64, err error) {
	config, err := mysql.ParseDSN(strings.TrimPrefix(dsn, "mysql://"))
	if err != nil {
		return 0, err
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return 0, err
	}
	db := sql.OpenDB(connector)
	defer func() { _ = db.Close() }()
	var name string
	err = db.QueryRowContext(ctx, "SHOW GLOBAL STATUS LIKE 'Questions'").Scan(&name, &n)
	return n, err
}
