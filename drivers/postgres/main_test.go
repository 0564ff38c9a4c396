package postgres

import (
	"os"
	"testing"

	"github.com/stele-db/stele/drivers/drivertest/database"
)

func TestMain(m *testing.M) { os.Exit(database.Main(m)) }

// kind is the kind of server, from STELE_TEST_POSTGRES, of the tests that run on any kind.
func kind() string {
	if kind := os.Getenv("STELE_TEST_POSTGRES"); kind != "" {
		return kind
	}
	return database.Postgres
}
