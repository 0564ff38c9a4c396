package faults

import (
	"context"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/test/crash"
)

// TestDatabaseKilled kills the database server by SIGKILL and starts it again.
func TestDatabaseKilled(t *testing.T) {
	on(t, []string{database.Postgres, database.MariaDB}, func(t *testing.T, db *database.Server) {
		c := newCluster(t, db, [replicas]process{})
		f := fault{faults: 1, min: 500 * time.Millisecond, max: 2 * time.Second, slack: 30 * time.Second}
		f.disturb = func(ctx context.Context, r *crash.Running) error {
			for !r.Enough() {
				if err := r.Between(ctx); err != nil {
					return err
				}
				r.Happened()
				from := r.Now()
				db.Kill(t, 1)
				db.Restart(t, 1)
				restarted := r.Now()
				if err := allBack(ctx, r, 30*time.Second); err != nil {
					return err
				}
				t.Logf("the database was away for %v, all replicas were back %v later", (restarted - from).Round(time.Millisecond), (r.Now() - restarted).Round(time.Millisecond))
			}
			return nil
		}
		f.run(t, c)
	})
}
