package migrate

import (
	"io"
	"os"
	"testing"

	"github.com/sirupsen/logrus"
	_ "modernc.org/sqlite" // for kine's files

	"github.com/stele-db/stele/drivers/drivertest/database"
)

func TestMain(m *testing.M) {
	logrus.SetOutput(io.Discard) // kine's
	os.Exit(database.Main(m))
}
