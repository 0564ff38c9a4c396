package sqlite

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stele-db/stele/drivers/drivertest"
	"github.com/stele-db/stele/logstructured/log"
)

func TestConformance(t *testing.T) {
	drivertest.Run(t, drivertest.Harness{
		New: func(t testing.TB) func(testing.TB) log.Log {
			return opening(filepath.Join(t.TempDir(), "state.db"))
		},
		Damage: func(t testing.TB) (func(testing.TB) log.Log, drivertest.Damager) {
			path := filepath.Join(t.TempDir(), "state.db")
			return opening(path), drivertest.BySQL(func(t testing.TB, statement string) { makeDB(t, path, statement) })
		},
	})
}

// opening returns a function that opens logs of one file. The suite closes them.
func opening(path string) func(testing.TB) log.Log {
	return func(t testing.TB) log.Log {
		t.Helper()
		l, err := Open(context.Background(), path, Options{Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
}
