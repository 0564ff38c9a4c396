package kine

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/drivers"
	"github.com/stele-db/stele/logstructured/log"
)

const tableSQL = `CREATE TABLE kine (id INTEGER PRIMARY KEY, name TEXT, created INTEGER, deleted INTEGER,
  create_revision INTEGER, prev_revision INTEGER, lease INTEGER, value BLOB, old_value BLOB);
  INSERT INTO kine VALUES (1, 'compact_rev_key', 1, 0, NULL, 0, 0, '', NULL)`

func quiet() *logrus.Entry {
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	return logrus.NewEntry(logger)
}

func openFile(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func execute(t *testing.T, db *sql.DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// TestRead reads several pages while another connection writes. Some rows are larger than a page. The rows must come
// from one snapshot.
func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b#c%20.db")
	db := openFile(t, path)
	execute(t, db, `PRAGMA journal_mode = WAL`)
	execute(t, db, tableSQL)
	const rows = 2*pageRows + 500
	large := bytes.Repeat([]byte{0xff, 0}, pageBytes/4)
	execute(t, db, `WITH RECURSIVE n(i) AS (VALUES(2) UNION ALL SELECT i + 1 FROM n WHERE i < ?)
		INSERT INTO kine SELECT i, CAST(x'6bff' || i AS TEXT), 1, 0, NULL, 0, 0,
			CASE WHEN i % 500 = 0 THEN ? ELSE 'v' END, NULL FROM n`, rows, large)
	table, err := Open(t.Context(), path, Options{Options: drivers.Options{Logger: quiet()}})
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	before, err := table.Outline(t.Context())
	if err != nil || before.Rows != rows || before.Revision != rows {
		t.Fatalf("outline: %+v, %v", before, err)
	}
	next := log.Revision(2)
	read, err := table.Read(t.Context(), func(e log.Entry) error {
		if next == 10 {
			execute(t, db, `INSERT INTO kine VALUES (100000, 'later', 1, 0, NULL, 0, 0, '', NULL)`)
		}
		want := "v"
		if next%500 == 0 {
			want = string(large)
		}
		if e.Revision != next || string(e.Key) != fmt.Sprintf("k\xff%d", next) || string(e.Value) != want {
			return fmt.Errorf("revision %d, key %q and a value of %d bytes; want revision %d", e.Revision, e.Key,
				len(e.Value), next)
		}
		next++
		return nil
	})
	if err != nil || read.Outline != before || read.Writes != rows-1 || read.Keys != rows-1 || next != rows+1 {
		t.Errorf("read up to %d, %+v: %v", next, read, err)
	}
	if after, err := table.Outline(t.Context()); err != nil || after == before {
		t.Errorf("an outline after a write: %+v, %v", after, err)
	}
	stopped := errors.New("enough")
	if _, err := table.Read(t.Context(), func(log.Entry) error { return stopped }); !errors.Is(err, stopped) {
		t.Errorf("stopped: %v", err)
	}
}

// TestOpenRefuses checks that Open refuses a table that is not kine's.
func TestOpenRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k.db")
	db := openFile(t, path)
	execute(t, db, tableSQL)
	execute(t, db, `CREATE TABLE other (id INTEGER); CREATE TABLE empty AS SELECT * FROM kine WHERE id < 0`)
	for _, test := range []struct {
		path, table string
		kine        bool
	}{{path, "other", true}, {path, "empty", true}, {path, "missing", true}, {path, `"x" WHERE 1; --`, false},
		{path + "2", "", false}} {
		table, err := Open(t.Context(), test.path,
			Options{Options: drivers.Options{Logger: quiet()}, Table: test.table})
		if err == nil || table != nil || errors.Is(err, ErrNotKine) != test.kine {
			t.Errorf("%s in %s: %v, %v", test.table, test.path, table, err)
		}
	}
	table, err := Open(t.Context(), path, Options{Options: drivers.Options{Logger: quiet()}})
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Close(); err != nil {
		t.Error(err)
	}
}
