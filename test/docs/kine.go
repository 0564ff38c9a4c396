package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// kineSQL creates a table of kine: writes of clients, kine's own rows, and the remaining rows after a compaction at
// revision 3.
const kineSQL = `
CREATE TABLE kine (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, created INTEGER, deleted INTEGER,
  create_revision INTEGER, prev_revision INTEGER, lease INTEGER, value BLOB, old_value BLOB);
INSERT INTO kine VALUES
  (1, 'compact_rev_key', 1, 0, NULL, 3, 0, '', NULL),
  (4, '/registry/pods/default/a', 0, 0, 2, 3, 0, 'a2', 'a1'),
  (5, 'gap-5', 0, 1, 0, 0, 0, NULL, NULL),
  (6, 'compact_rev_key_apiserver', 1, 0, NULL, 0, 0, '1|3', NULL),
  (7, '/registry/pods/default/a', 0, 0, 2, 4, 0, 'a3', 'a2'),
  (8, '/registry/leases/node-1', 1, 0, NULL, 0, 3600, 'node-1', NULL),
  (9, '/registry/pods/default/b', 0, 1, 3, 3, 0, NULL, 'b1');
`

// kineTable writes kine's default database to dir, for the page that imports it.
func kineTable(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, "db", "state.db")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("sqlite3", path, kineSQL).CombinedOutput(); err != nil {
		t.Fatalf("sqlite3: %v\n%s", err, out)
	}
}
