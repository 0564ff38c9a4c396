package embed

import (
	"os"
	"testing"

	"github.com/stele-db/stele/drivers/drivertest/database"
)

// The databases of this package's tests end with it.
func TestMain(m *testing.M) { os.Exit(database.Main(m)) }
