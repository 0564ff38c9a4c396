//go:build !memlog

package server

import (
	"path/filepath"
	"testing"

	"github.com/stele-db/stele/drivers"
	"github.com/stele-db/stele/logstructured/log"
)

// openLog opens a log in SQLite, the database of the tests' stores.
func openLog(t testing.TB) log.Log {
	t.Helper()
	return openFile(t, filepath.Join(t.TempDir(), "state.db"))
}

// openFile opens the log in a file, which may be open already.
func openFile(t testing.TB, path string) log.Log {
	t.Helper()
	l, err := drivers.Open(t.Context(), "sqlite://"+path, drivers.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	return l
}
