package migrate

import (
	"bytes"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/test/internal/stele"
)

// begin starts an import in the background.
func begin(t *testing.T, source, target string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	output := &bytes.Buffer{}
	cmd := exec.CommandContext(t.Context(), stele.Binary(t, t.TempDir(), false), "import", "--from=kine", "--source",
		source, "--endpoint", target)
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, output
}

// await waits until condition returns true.
func await(t *testing.T, name string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); {
		if time.Now().After(deadline) {
			t.Fatalf("timeout: %s", name)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(time.Millisecond):
		}
	}
}

// TestKilled kills an import at a quarter and at a half, interrupts it at three quarters, and then lets it complete.
func TestKilled(t *testing.T) {
	const rows = 40_000
	source := filled(t, stele.SQLite, rows)
	for _, kind := range []string{stele.SQLite, database.Postgres, database.MariaDB} {
		t.Run(kind, func(t *testing.T) {
			target := place(t, kind)
			var db *sql.DB
			written := func() (n int64) {
				if db == nil {
					db = sqlOf(t, target)
				}
				// the table may not be there yet
				_ = db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM stele_log`).Scan(&n)
				return n
			}
			for quarter := range int64(3) {
				cmd, output := begin(t, source, target)
				await(t, "rows are imported", func() bool { return written() > (quarter+1)*rows/4 })
				signal := os.Kill
				if quarter == 2 {
					signal = os.Interrupt
				}
				if err := cmd.Process.Signal(signal); err != nil {
					t.Fatalf("%v: %v\n%s", signal, err, output)
				}
				if err := cmd.Wait(); err == nil || signal == os.Interrupt &&
					!strings.Contains(output.String(), "interrupted: run the same command again") {
					t.Fatalf("%v: the import ended with %v\n%s", signal, err, output)
				}
				for _, command := range [][]string{{"check"}, {"serve", "--listen-address", "127.0.0.1:0"}} {
					out, err := run(t, append(command, "--endpoint", target)...)
					want := "run the `stele import` from kine's table kine in " +
						strings.TrimPrefix(source, "sqlite://") + " again"
					if err == nil || !strings.Contains(out, want) {
						t.Errorf("stele %s on an unfinished import: %v\n%s", command[0], err, out)
					}
				}
			}
			other := filled(t, stele.SQLite, 1000)
			if out, err := run(t, "import", "--from=kine", "--source", other, "--endpoint", target); err == nil ||
				!strings.Contains(out, "run that one again, or empty the database") {
				t.Errorf("an import from another source: %v\n%s", err, out)
			}
			changed := sqlOf(t, source)
			change := func(value string) {
				t.Helper()
				if _, err := changed.ExecContext(t.Context(),
					`UPDATE kine SET old_value = value, value = ? WHERE id = ?`, value, rows/2); err != nil {
					t.Fatal(err)
				}
			}
			var value string
			if err := changed.QueryRowContext(t.Context(), `SELECT value FROM kine WHERE id = ?`,
				rows/2).Scan(&value); err != nil {
				t.Fatal(err)
			}
			change("changed")
			if out, err := run(t, "import", "--from=kine", "--source", source, "--endpoint", target); err == nil ||
				!strings.Contains(out, "--endpoint: what was imported is not what kine's table") {
				t.Errorf("an import of which a part was changed afterwards: %v\n%s", err, out)
			}
			change(value)
			out, err := run(t, "import", "--from=kine", "--source", source, "--endpoint", target)
			if err != nil || !strings.Contains(out, "resuming an import that was interrupted") ||
				!strings.Contains(out, fmt.Sprintf("%d writes, ", rows-1)) {
				t.Fatalf("the last attempt: %v\n%s", err, out)
			}
			if out, err := run(t, "check", "--endpoint", target); err != nil {
				t.Errorf("check: %v\n%s", err, out)
			}
			if out, err := run(t, "import", "--from=kine", "--source", source, "--endpoint", target); err == nil ||
				!strings.Contains(out, "it is not empty") {
				t.Errorf("a second import: %v\n%s", err, out)
			}
		})
	}
}

// TestWrittenMeanwhile writes to the table during its import, as rarely as an idle cluster.
func TestWrittenMeanwhile(t *testing.T) {
	const rows = 1000
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			source, target := filled(t, kind, rows), place(t, stele.SQLite)
			db := sqlOf(t, source)
			cmd, output := begin(t, source, target)
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			id, err := int64(rows), error(nil)
			for writing := true; writing; {
				id++
				if _, err := db.ExecContext(t.Context(), fmt.Sprintf(`INSERT INTO kine
					(id, name, created, deleted, create_revision, prev_revision, lease, value)
					VALUES (%d, '/registry/events/%d', 1, 0, NULL, 0, 0, 'v')`, id, id)); err != nil {
					t.Fatal(err)
				}
				select {
				case err = <-ended:
					writing = false
				case <-time.After(time.Second): // the writes are as rare as those of an idle cluster
				}
			}
			if err == nil || !strings.Contains(output.String(),
				"was written while it was imported: stop what serves it, and run the same command again") {
				t.Fatalf("an import of a table in use: %v\n%s", err, output)
			}
			out, err := run(t, "import", "--from=kine", "--source", source, "--endpoint", target)
			if err != nil || !strings.Contains(out, fmt.Sprintf("revision %d, ", id)) {
				t.Errorf("after the writes have stopped: %v\n%s", err, out)
			}
		})
	}
}
