package mysql

import (
	"context"
	"errors"

	"github.com/stele-db/stele/logstructured/log"
)

// tiDB is the engine of a TiDB server.
type tiDB struct{ innoDB }

// tiDBSettings are the session settings that only TiDB has.
var tiDBSettings = []setting{
	// Never read an old snapshot.
	{"tidb_low_resolution_tso", "0"},
	{"tidb_enable_external_ts_read", "0"},
	// TiDB otherwise runs the branches of a UNION ALL concurrently, but the row of the head must come first.
	{"tidb_executor_concurrency", "1"},
	// As on Galera: the server must not retry statements itself.
	{"tidb_retry_limit", "0"},
}

func (tiDB) settings(has map[string]string, _ int) []setting { return present(has, tiDBSettings) }

// contendedTries bounds the retries of an append that TiDB ended because of a transaction that left no row.
const contendedTries = 10

func (tiDB) append(ctx context.Context, a attempt) (log.Timestamp, error) {
	at, err := a.run(ctx)
	for try := 0; try < contendedTries && unresolvedWriteConflict(err) && a.usable(); try++ {
		at, err = a.run(ctx)
		err = a.retried(ctx, err)
	}
	return at, err
}

// unresolvedWriteConflict reports whether TiDB ended an append because of a concurrent transaction that left no row.
// That transaction was rolled back or is still running; other servers would wait for it. A retry is safe even if the
// first attempt took effect after all, because both insert the same rows.
func unresolvedWriteConflict(err error) bool {
	return isNumber(err, errTiKVWriteConflict) && !errors.Is(err, log.ErrConflict)
}

// optimized ignores that TiDB does not support the statement, because TiKV reclaims space by itself.
func (tiDB) optimized(err error) error {
	if isNumber(err, errTiDBUnsupported) {
		return nil
	}
	return err
}
