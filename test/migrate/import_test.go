package migrate

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/stele"
)

var kinds = []string{stele.SQLite, database.Postgres, database.MariaDB}

// run runs stele and returns its output, of both streams.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience) // a million rows take a while on a busy machine
	defer cancel()
	cmd := exec.CommandContext(ctx, stele.Binary(t, t.TempDir(), false), args...)
	cmd.Env = append(os.Environ(), "STELE_SOURCE_QUIET=0s")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestImport writes with kine to each kind of database, and imports that into the same database and into others.
func TestImport(t *testing.T) {
	for i, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dsn := place(t, kind)
			client, stop := kine(t, dsn)
			history(t, client)
			stop()
			fillGaps(t, dsn)
			client, stop = kine(t, dsn)
			compact := number(t, sqlOf(t, dsn), `SELECT prev_revision FROM kine WHERE name = 'compact_rev_key'`)
			want := collect(t, client, compact)
			stop()
			t.Logf("revision %d, compact revision %d, %d events, %d gap rows", want.revision, compact, len(want.events),
				number(t, sqlOf(t, dsn), `SELECT COUNT(*) FROM kine WHERE name LIKE 'gap-%'`))

			refused(t, dsn)
			targets := []string{kinds[(i+1)%len(kinds)]}
			if os.Getenv("STELE_TEST_MIGRATE") == "all" {
				targets = kinds
			}
			for _, target := range targets {
				t.Run("into "+target, func(t *testing.T) {
					compare(t, dsn, place(t, target), "ttl", compact, want)
				})
			}
			t.Run("in lease mode etcd", func(t *testing.T) {
				compare(t, dsn, place(t, stele.SQLite), "etcd", compact, want)
			})
			// This subtest is the last, because the database is Stele's afterwards.
			t.Run("in place", func(t *testing.T) { compare(t, "", dsn, "ttl", compact, want) })
		})
	}
}

// fillGaps adds the rows of kine's FillSQL: on SQLite no transaction loses an ID, and elsewhere kine may not have added
// them.
func fillGaps(t *testing.T, dsn string) {
	t.Helper()
	db := sqlOf(t, dsn)
	for range 3 {
		id := number(t, db, `SELECT MAX(id) + 1 FROM kine`)
		if _, err := db.ExecContext(t.Context(), fmt.Sprintf(`INSERT INTO kine
			(id, name, created, deleted, create_revision, prev_revision, lease, value, old_value)
			VALUES (%d, 'gap-%d', 0, 1, 0, 0, 0, NULL, NULL)`, id, id)); err != nil {
			t.Fatal(err)
		}
	}
}

// refused checks that Stele does not start on kine's database.
func refused(t *testing.T, dsn string) {
	t.Helper()
	out, err := run(t, "--endpoint", dsn, "--listen-address", "127.0.0.1:0")
	if err == nil || !strings.Contains(out, "run `stele import --from=kine` with the same --endpoint") {
		t.Errorf("stele on kine's database: %v\n%s", err, out)
	}
}

// compare imports from source, or in place if that is empty, and compares the answers with kine's.
func compare(t *testing.T, source, target, mode string, compact int64, want *answers) {
	t.Helper()
	args := []string{"import", "--from=kine", "--endpoint", target, "--lease-mode", mode}
	if source != "" {
		args = append(args, "--source", source)
	}
	out, err := run(t, args...)
	if err != nil {
		t.Fatalf("stele import: %v\n%s", err, out)
	}
	t.Log(out)
	server := stele.Start(t, stele.Options{Endpoint: target, Args: []string{"--lease-mode", mode}})
	got := collect(t, connect.Client(t, server.Target), compact)
	if got.revision != want.revision || got.compactKey != want.compactKey {
		t.Errorf("revision %d and %s; kine has %d and %s", got.revision, got.compactKey, want.revision, want.compactKey)
	}
	for at := compact; at <= want.revision; at++ {
		if !slices.Equal(got.lists[at], want.lists[at]) {
			t.Fatalf("keys at revision %d:\n%s\nof kine:\n%s", at, strings.Join(got.lists[at], "\n"),
				strings.Join(want.lists[at], "\n"))
		}
	}
	if !slices.Equal(got.events, want.events) {
		t.Errorf("events:\n%s\nof kine:\n%s", strings.Join(got.events, "\n"), strings.Join(want.events, "\n"))
	}
	if err := server.Stop(); err != nil {
		t.Error(err)
	}
	server.Check(t)
}
