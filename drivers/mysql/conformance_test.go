package mysql

import (
	"fmt"
	"testing"

	"github.com/stele-db/stele/drivers/drivertest"
	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/logstructured"
)

func TestConformance(t *testing.T) {
	s := database.Shared(t, database.MariaDB)
	drivertest.Run(t, drivertest.Harness{
		New: func(t testing.TB) func(testing.TB) logstructured.Log {
			dsn := s.DSN(t)
			return func(t testing.TB) logstructured.Log { return openLog(t, dsn) }
		},
	})
}

// TestGaleraConformance runs the suite with each log on another node.
func TestGaleraConformance(t *testing.T) {
	s := database.Shared(t, database.Galera)
	drivertest.Run(t, drivertest.Harness{
		New: func(t testing.TB) func(testing.TB) logstructured.Log {
			name := s.Database(t)
			node := 0
			return func(t testing.TB) logstructured.Log {
				node = node%s.Nodes() + 1
				return openLog(t, s.In(s.Env(t, fmt.Sprintf("DSN_%d", node)), name))
			}
		},
	})
}
