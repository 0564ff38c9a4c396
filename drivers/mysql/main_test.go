package mysql

import (
	"context"
	"io"
	"os"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/drivers/internal/driver"
)

func TestMain(m *testing.M) { os.Exit(database.Main(m)) }

// kind is the kind of server, from STELE_TEST_MYSQL, of the tests that run on any kind.
func kind() string {
	if kind := os.Getenv("STELE_TEST_MYSQL"); kind != "" {
		return kind
	}
	return database.MariaDB
}

// quiet logs nowhere.
func quiet() *logrus.Entry {
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	return logrus.NewEntry(logger)
}

// openLog opens a log that the test closes.
func openLog(t testing.TB, dsn string) *Log {
	t.Helper()
	l, err := Open(context.Background(), dsn, driver.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	return l
}
