package migrate

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/k3s-io/kine/pkg/endpoint"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/stele"
)

// patience bounds every wait.
const patience = 2 * time.Minute

// place returns the DSN of an empty database of a kind, which is removed after t.
func place(t *testing.T, kind string) string {
	t.Helper()
	if kind == stele.SQLite {
		return "sqlite://" + filepath.Join(t.TempDir(), "state.db")
	}
	return database.Shared(t, kind).DSN(t)
}

// kine serves dsn in this process until stop is called.
func kine(t *testing.T, dsn string) (client *clientv3.Client, stop func()) {
	t.Helper()
	dir, err := os.MkdirTemp("", "kine") // short, for the socket in it
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(dsn, "sqlite://") {
		dsn += "?_journal_mode=WAL&_busy_timeout=30000&_synchronous=NORMAL"
	}
	ctx, cancel := context.WithCancel(context.Background())
	wg := &sync.WaitGroup{}
	served, err := endpoint.Listen(ctx, endpoint.Config{
		Listener: "unix://" + filepath.Join(dir, "kine.sock"), Endpoint: dsn, WaitGroup: wg,
		NotifyInterval: 5 * time.Second, EmulatedETCDVersion: "3.6.0",
		// Clients compact, and kine retains few revisions: otherwise a test would need thousands of revisions.
		CompactInterval: 0, CompactTimeout: time.Minute, CompactMinRetain: 10, CompactBatchSize: 1000,
		PollInterval: 50 * time.Millisecond, PollBatchSize: 500,
	})
	if err != nil {
		cancel()
		t.Fatalf("start kine: %v", err)
	}
	client = connect.Client(t, served.Endpoints[0])
	var once sync.Once
	stop = func() {
		once.Do(func() {
			_ = client.Close()
			cancel()
			wg.Wait()
			_ = os.RemoveAll(dir)
		})
	}
	t.Cleanup(stop)
	return client, stop
}

// sqlOf opens the database at dsn for the test's own statements.
func sqlOf(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	var db *sql.DB
	var err error
	switch scheme, rest, _ := strings.Cut(dsn, "://"); scheme { // the drivers that kine and Stele have
	case "sqlite":
		db, err = sql.Open("sqlite", rest+"?_pragma=busy_timeout(10000)")
	case "postgres":
		db, err = sql.Open("pgx", dsn)
	default:
		db, err = sql.Open("mysql", rest)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// number returns the result of a query.
func number(t *testing.T, db *sql.DB, query string) (n int64) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}
