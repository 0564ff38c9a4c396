package clients

import (
	"os"
	"testing"

	"github.com/stele-db/stele/drivers/drivertest/database"
)

func TestMain(m *testing.M) { os.Exit(database.Main(m)) }
