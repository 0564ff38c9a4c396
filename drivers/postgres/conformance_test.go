package postgres

import (
	"context"
	"io"
	"os"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/drivers/drivertest"
	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/logstructured"
)

func TestMain(m *testing.M) { os.Exit(database.Main(m)) }

// quiet logs nowhere.
func quiet() *logrus.Entry {
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	return logrus.NewEntry(logger)
}

func harness(kind string) drivertest.Harness {
	return drivertest.Harness{
		New: func(t testing.TB) func(testing.TB) logstructured.Log {
			dsn := database.Shared(t, kind).DSN(t)
			return func(t testing.TB) logstructured.Log {
				l, err := Open(context.Background(), dsn, Options{Logger: quiet()})
				if err != nil {
					t.Fatal(err)
				}
				return l
			}
		},
	}
}

func TestConformance(t *testing.T) { drivertest.Run(t, harness(database.Postgres)) }

// TestConformanceThroughPgBouncer has a pooler in transaction mode in between, which is found out and not told.
func TestConformanceThroughPgBouncer(t *testing.T) { drivertest.Run(t, harness(database.PgBouncer)) }
