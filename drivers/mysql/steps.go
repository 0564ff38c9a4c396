package mysql

import (
	"context"
	"errors"
	"fmt"

	"github.com/stele-db/stele/logstructured/log"
)

// runInSteps appends entries that do not fit into one statement. Nothing takes effect before COMMIT, so until COMMIT is
// sent every error is a definite failure.
func (a appending) runInSteps(ctx context.Context) (log.Timestamp, error) {
	s := a.w.s
	if err := s.execute(ctx, "SET SESSION wait_timeout = "+idleTransaction); err != nil {
		return 0, err
	}
	at, err := a.insertInSteps(ctx)
	if err != nil {
		if outcomeOf(err) == contended && a.lost(ctx) { // the whole transaction was rolled back
			err = a.conflict(err)
		}
		if !errors.Is(err, log.ErrConflict) || s.execute(ctx, "ROLLBACK") != nil {
			_ = s.Close() // closing the connection rolls the transaction back, and cannot fail
		}
		return 0, err
	}
	if err := s.execute(ctx, "COMMIT"); err != nil {
		return 0, a.resolve(ctx, err)
	}
	if err := s.execute(ctx, "SET SESSION wait_timeout = "+idleSession); err != nil {
		_ = s.Close() // the append has taken effect
	}
	return at, nil
}

// insertInSteps inserts the entries in a transaction and leaves it open.
func (a appending) insertInSteps(ctx context.Context) (log.Timestamp, error) {
	w := a.w
	if err := w.s.execute(ctx, "START TRANSACTION"); err != nil {
		return 0, err
	}
	defer w.release()
	n := w.chunk(a.entries, chunkRows)
	insert, err := w.conditionalInsert(ctx, n)
	if err != nil {
		return 0, err
	}
	result, err := a.insertFirst(ctx, insert, a.entries[:n])
	switch {
	case err != nil && outcomeOf(err) == conflicted:
		return 0, a.conflict(err)
	case err != nil:
		return 0, err
	}
	at, err := a.timeOf(ctx, result)
	if err == nil {
		err = a.insertRest(ctx, n, at)
	}
	if err != nil {
		return 0, err
	}
	return at, w.s.refuseReadOnly(ctx)
}

// insertRest inserts the entries from index done on.
func (a appending) insertRest(ctx context.Context, done int, at log.Timestamp) (err error) {
	var (
		w        = a.w
		prepared rawStmt
		rows     int
	)
	defer func() {
		if prepared != nil {
			_ = prepared.Close()
		}
	}()
	var n int
	for ; done < len(a.entries); done += n {
		n = w.chunk(a.entries[done:], chunkRows)
		if n != rows {
			if prepared != nil {
				_ = prepared.Close()
			}
			if prepared, err = w.s.prepare(ctx, w.sql.inserts(n, w.sql.plainRow, w.sql.plainRow)); err != nil {
				return err
			}
			rows = n
		}
		w.release()
		w.begin((rowParameters + 1) * n)
		w.addEntries(a.head.Position+log.Position(done), a.id, at, a.entries[done:done+n])
		result, err := prepared.ExecContext(ctx, w.args)
		if err != nil {
			return err
		}
		if changed, err := result.RowsAffected(); err != nil || changed != int64(n) {
			return fmt.Errorf("%d rows of %d were inserted: %w", changed, n, err)
		}
	}
	return nil
}
