package mysql

import (
	"context"
	"errors"
	"fmt"

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

// errTriedAgain is the reason why the outcome of an append is unknown although a retry of it conflicted.
var errTriedAgain = errors.New("it was tried again")

func (tiDB) append(ctx context.Context, a appending) (log.Timestamp, error) {
	at, err := a.run(ctx)
	for try := 0; try < contendedTries && unresolvedWriteConflict(err) && a.w.s.IsValid(); try++ {
		if at, err = a.run(ctx); errors.Is(err, log.ErrConflict) {
			// An entry with our own ID comes from our previous attempt.
			if other, ok := a.next(ctx); !ok || other == a.id {
				err = fmt.Errorf("%w: %v may be followed by it: %w", log.ErrUnknown, a.head, errTriedAgain)
			}
		}
	}
	return at, err
}

// unresolvedWriteConflict reports whether TiDB ended an append because of a concurrent transaction that left no row.
// That transaction was rolled back or is still running; other servers would wait for it. A retry is safe even if the
// first attempt took effect after all, because both insert the same rows.
func unresolvedWriteConflict(err error) bool {
	return isNumber(err, errTiKVWriteConflict) && !errors.Is(err, log.ErrConflict)
}

// optimize succeeds where TiDB does not support the statement, because TiKV reclaims space by itself.
func (tiDB) optimize(ctx context.Context, s *session, statement string) error {
	err := innoDB{}.optimize(ctx, s, statement)
	if isNumber(err, errTiDBUnsupported) {
		return nil
	}
	return err
}
