package yurthub

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"

	_ "github.com/go-sql-driver/mysql" // the driver for raisePacket

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/test/internal/stele"
)

// raisePacket sets max_allowed_packet until the test's database server ends. Without it, Stele refuses requests of that
// size at its start.
func raisePacket(t *testing.T, bytes int) {
	t.Helper()
	server := database.Shared(t, stele.Kind())
	for node := range server.Nodes() {
		db, err := sql.Open("mysql", strings.TrimPrefix(server.Env(t, fmt.Sprintf("ADMIN_DSN_%d", node+1)), "mysql://"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = db.ExecContext(t.Context(), fmt.Sprintf("SET GLOBAL max_allowed_packet = %d", bytes))
		_ = db.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
}
