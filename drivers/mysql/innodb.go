package mysql

import (
	"context"

	"github.com/stele-db/stele/logstructured/log"
)

// innoDB is the engine of MySQL and MariaDB.
type innoDB struct{}

func (innoDB) settings(map[string]string, int) []setting { return nil }

func (innoDB) append(ctx context.Context, a attempt) (log.Timestamp, error) { return a.run(ctx) }

func (innoDB) optimized(err error) error { return err }

func (innoDB) unsynced() string {
	return "THE DATABASE DOES NOT SYNC ITS LOG AT EACH COMMIT: " +
		"acknowledged writes are LOST when the machine loses power; set innodb_flush_log_at_trx_commit = 1"
}
