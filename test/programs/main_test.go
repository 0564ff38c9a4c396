package programs

import (
	"fmt"
	"os"
	"testing"

	"github.com/stele-db/stele/drivers/drivertest/database"
)

func TestMain(m *testing.M) {
	if selection() == "" {
		fmt.Println("skipped: set STELE_TEST_PROGRAMS to short or all")
		return
	}
	os.Exit(database.Main(m))
}

// selection returns which tests run: short, all, or none.
func selection() string { return os.Getenv("STELE_TEST_PROGRAMS") }
