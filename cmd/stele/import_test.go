package main

import (
	"bytes"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

// kineSQL creates a table of kine with two keys, one of them deleted, after a compaction at revision 2.
const kineSQL = `
CREATE TABLE kine (id INTEGER PRIMARY KEY, name TEXT, created INTEGER, deleted INTEGER, create_revision INTEGER,
  prev_revision INTEGER, lease INTEGER, value BLOB, old_value BLOB);
INSERT INTO kine VALUES
  (1, 'compact_rev_key', 1, 0, NULL, 2, 0, '', NULL),
  (3, '/a', 0, 0, 2, 2, 0, 'a2', 'a1'),
  (4, '/b', 1, 0, NULL, 0, 3600, 'b', NULL),
  (5, 'gap-5', 0, 1, 0, 0, 0, NULL, NULL), (6, '/b', 0, 1, 4, 4, 0, NULL, 'b');`

// makeKine creates kine's default database in dir.
func makeKine(t *testing.T, dir, script string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "db"), 0o700); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "db", "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), script); err != nil {
		t.Fatal(err)
	}
}

// ran runs a command in dir to its end.
func ran(t *testing.T, dir string, code int, args []string, want ...string) {
	t.Helper()
	p := launch(t, dir, []string{"STELE_SOURCE_QUIET=0s"}, args...)
	got := p.wait()
	said := p.stdout.String() + p.stderr.String()
	for _, w := range want {
		if got != code || !strings.Contains(said, w) {
			t.Errorf("stele %s: exit code %d, want %d and %q: %s", strings.Join(args, " "), got, code, w, said)
		}
	}
}

// TestKineTable checks that the program refuses to start on a table of kine. It imports the table, with and without
// --dry-run, and then starts the program.
func TestKineTable(t *testing.T) {
	dir := t.TempDir()
	makeKine(t, dir, kineSQL)
	ran(t, dir, 1, []string{"--listen-address=127.0.0.1:0"}, "stele: --endpoint: ",
		"stop kine and run `stele import --from=kine` with the same --endpoint", "--beside-kine")
	for _, command := range []string{"check", "lease-mode etcd", "recover --bump-revision=9 --mark-compacted"} {
		ran(t, dir, 1, strings.Fields(command), "run `stele import --from=kine`")
	}
	imported := "3 writes, 1 keys, revision 6, compact revision 2"
	before, err := os.ReadFile(filepath.Join(dir, "db", "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	ran(t, dir, 0, []string{"import", "--from=kine", "--dry-run"}, "nothing was changed: "+imported,
		"rows that fill gaps (their revisions count): 1", "with a TTL, which begins now: 1")
	if after, err := os.ReadFile(filepath.Join(dir, "db", "state.db")); err != nil || !bytes.Equal(before, after) {
		t.Errorf("--dry-run changed the file: %v", err)
	}
	ran(t, dir, 0, []string{"import", "--from=kine", "--source=db/state.db", "--endpoint=other.db"}, "other.db in ",
		imported)
	ran(t, dir, 0, []string{"import", "--from=kine"}, imported)
	ran(t, dir, 1, []string{"import", "--from=kine"}, "--endpoint: ", "it is not empty", "drop its tables stele_*")
	ran(t, dir, 0, []string{"check"}, "1 keys, 0 leases, revision 6, compact revision 2, problems: 0")
	p := start(t, dir)
	if revision := put(t, p.kv(), "/a", "a3"); revision != 7 {
		t.Errorf("the next write has revision %d, want 7", revision)
	}
	p.stop()
}

// TestBesideKine starts with an empty log in a database that holds a table kine of another program.
func TestBesideKine(t *testing.T) {
	dir := t.TempDir()
	makeKine(t, dir, `CREATE TABLE kine (invoice INTEGER)`)
	ran(t, dir, 1, []string{"import", "--from=kine"}, "--endpoint: not a table of kine: ", "--source-table")
	p := start(t, dir, "--beside-kine")
	put(t, p.kv(), "k", "v")
	p.stop()
	p = start(t, dir) // the log exists now
	p.stop()
}

// TestImportMistakes checks the errors for mistakes on the command line of an import.
func TestImportMistakes(t *testing.T) {
	dir := t.TempDir()
	makeKine(t, dir,
		`CREATE TABLE kine AS SELECT 2 AS id, '/a' AS name, 1 AS created, 0 AS deleted, 0 AS create_revision,
		0 AS prev_revision, 0 AS lease, '' AS value, '' AS old_value`)
	for args, want := range map[string]string{
		"":                              "--from is missing: write what to import from, such as --from=",
		"--from=consul":                 `--from: "consul" is not `,
		"-from=consul":                  `--from: "consul" is not `,
		"--from=kine --lease-mode=kine": "--lease-mode",
		"--from=kine --source=oracle://u:hunter2@h":     "--source: unknown scheme",
		"--from=kine --source=none.db":                  "--source: no such file or directory, stat ",
		"--from=kine --source-table=a;b":                "a;b",
		"--from=kine --source-table=other":              "not a table of kine",
		"--from=kine":                                   "has no row named compact_rev_key",
		"--from=kine --source-quiet=-1s":                "--source-quiet",
		"--from=kine --source-cert-file=x":              "--source-key-file",
		"--from=kine --source-ca-file=/no/such":         "--source-ca-file",
		"--from=kine --source-password-file=/no/such":   "--source-password-file",
		"--from=kine postgres://u:hunter2@h/d":          "takes flags only",
		"--from=kine --source=postgres://u:hunter2@[/d": "--source: postgres: ",
	} {
		p := launch(t, dir, nil, append([]string{"import", "--endpoint=new.db"},
			strings.Fields(strings.Replace(args, "--from=kine", "--from=kine --source=db/state.db", 1))...)...)
		code := p.wait()
		said := p.stdout.String() + p.stderr.String()
		if code != 1 || !strings.Contains(said, want) || strings.Contains(said, "hunter2") ||
			strings.Count(said, "\n") != 1 {
			t.Errorf("stele import %s: exit code %d, want 1 and %q: %s", args, code, want, said)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "new.db")); err == nil {
		t.Error("a mistake has made a database")
	}
}

// TestProgressInTheLog checks that progress is logged if standard error is not a terminal.
func TestProgressInTheLog(t *testing.T) {
	var said bytes.Buffer
	logger := logrus.New()
	logger.SetOutput(&said)
	p := newProgress(&said, logrus.NewEntry(logger), "copying", 100)
	p.set(10)
	if said.Len() != 0 {
		t.Errorf("at once: %s", &said)
	}
	p.reportedAt = time.Now().Add(-progressEvery)
	p.set(50)
	p.set(60)
	p.end()
	if strings.Count(said.String(), "\n") != 1 || !strings.Contains(said.String(), "msg=copying done=50 of=100") {
		t.Errorf("later: %s", &said)
	}
}
