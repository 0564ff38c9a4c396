package mysql

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

// openLog opens a log that the test closes.
func openLog(t testing.TB, dsn string) *Log {
	t.Helper()
	l, err := Open(context.Background(), dsn, Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestConformance(t *testing.T) {
	s := database.Shared(t, database.MariaDB)
	drivertest.Run(t, drivertest.Harness{
		New: func(t testing.TB) func(testing.TB) logstructured.Log {
			dsn := s.DSN(t)
			return func(t testing.TB) logstructured.Log { return openLog(t, dsn) }
		},
	})
}
