//go:build !memlog

package server

import (
	"path/filepath"
	"testing"

	"github.com/stele-db/stele/drivers"
	"github.com/stele-db/stele/logstructured"
)

// openLog opens what the tests' stores are on: SQLite.
func openLog(t testing.TB) logstructured.Log {
	t.Helper()
	return openFile(t, filepath.Join(t.TempDir(), "state.db"))
}

// openFile opens the log in a file, which others may have opened too.
func openFile(t testing.TB, path string) logstructured.Log {
	t.Helper()
	log, err := drivers.Open(t.Context(), "sqlite://"+path, drivers.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	return log
}
