package main

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // breaks the file on purpose
)

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir)
	for _, key := range []string{"a", "b", "a"} {
		put(t, p.kv(), key, "v")
	}
	p.stop()
	run := func(code int, want ...string) {
		t.Helper()
		p := launch(t, dir, nil, "check")
		got := p.wait()
		for _, w := range want {
			if got != code || !strings.Contains(p.stdout.String()+p.stderr.String(), w) {
				t.Errorf("exit code %d, want %d and %q: %s%s", got, code, w, p.stdout.String(), p.stderr.String())
			}
		}
	}
	run(0, "3 entries, 2 keys, 0 leases, revision 4, compact revision -1, problems: 0")
	db, err := sql.Open("sqlite", filepath.Join(dir, "db", "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "DELETE FROM stele_log WHERE position = 2"); err != nil {
		t.Fatal(err)
	}
	run(1, "position 2: is missing, beyond the deletion floor 0", "problems: 2", "problems in the database: 2")
}
