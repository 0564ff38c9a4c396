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

// run runs stele and returns what it printed on both outputs.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience) // a million rows take a while on a busy machine
	defer cancel()
	cmd := exec.CommandContext(ctx, stele.Binary(t, t.TempDir(), false), args...)
	cmd.Env = append(os.Environ(), "STELE_SOURCE_QUIET=0s")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestImport lets kine write on each kind of database, and imports that into the same database and into others.
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
			want := ask(t, client, compact)
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
			t.Run("with leases of their own", func(t *testing.T) {
				compare(t, dsn, place(t, stele.SQLite), "etcd", compact, want)
			})
			// Last: then the database is Stele's.
			t.Run("in place", func(t *testing.T) { compare(t, "", dsn, "ttl", compact, want) })
		})
	}
}

// fillGaps adds what kine's FillSQL does: on SQLite no transaction loses an id, and elsewhere it may not have happened.
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

// refused starts Stele on kine's database.
func refused(t *testing.T, dsn string) {
	t.Helper()
	out, err := run(t, "--endpoint", dsn, "--listen-address", "127.0.0.1:0")
	if err == nil || !strings.Contains(out, "run `stele import --from=kine` with the same --endpoint") {
		t.Errorf("stele on kine's database: %v\n%s", err, out)
	}
}

// compare imports from source, "" for the target itself, and asks Stele what kine was asked.
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
	got := ask(t, connect.Client(t, server.Target), compact)
	if got.revision != want.revision || got.noted != want.noted {
		t.Errorf("revision %d and %s; of kine %d and %s", got.revision, got.noted, want.revision, want.noted)
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
