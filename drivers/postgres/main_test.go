package postgres

import (
	"os"
	"testing"

	"github.com/stele-db/stele/drivers/drivertest/database"
)

func TestMain(m *testing.M) { os.Exit(database.Main(m)) }

// kind is STELE_TEST_POSTGRES: what the tests run on, if they need nothing that only one kind of server has.
func kind() string {
	if kind := os.Getenv("STELE_TEST_POSTGRES"); kind != "" {
		return kind
	}
	return database.Postgres
}
