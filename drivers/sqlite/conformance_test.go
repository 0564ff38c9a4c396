package sqlite

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stele-db/stele/drivers/drivertest"
	"github.com/stele-db/stele/logstructured"
)

func TestConformance(t *testing.T) {
	drivertest.Run(t, drivertest.Harness{
		New: func(t testing.TB) func(testing.TB) logstructured.Log {
			path := filepath.Join(t.TempDir(), "state.db")
			return func(t testing.TB) logstructured.Log {
				l, err := Open(context.Background(), path, Options{Logger: quiet()})
				if err != nil {
					t.Fatal(err)
				}
				return l
			}
		},
	})
}
