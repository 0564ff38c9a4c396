package drivers

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/stele-db/stele/logstructured/log"
)

// TestSchemaOfSQLite opens a file that was created by the statements of Schema.
func TestSchemaOfSQLite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	statements, err := Schema("sqlite://" + path)
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1) // they are one transaction
	for _, statement := range statements {
		if !strings.HasSuffix(statement, ";") {
			t.Errorf("does not end with a semicolon: %s", statement)
		}
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := Open(context.Background(), path, options())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Append(t.Context(), log.Head{}, 1, []log.Entry{{Kind: log.KindPut, Key: []byte("k")}}); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
