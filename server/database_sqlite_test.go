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
	log, err := drivers.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "state.db"), drivers.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	return log
}
