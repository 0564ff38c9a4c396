package embed

import (
	"os"
	"testing"

	"github.com/stele-db/stele/drivers/drivertest/database"
)

// TestMain stops the databases of this package's tests at the end.
func TestMain(m *testing.M) { os.Exit(database.Main(m)) }
