package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/stele-db/stele/drivers/internal/lifetime"
	"github.com/stele-db/stele/logstructured/log"
)

// Append implements [log.Log].
func (l *Log) Append(ctx context.Context, head log.Head, id log.AppendID, entries []log.Entry) error {
	ctx, done, err := l.calls.Begin(ctx)
	if err != nil {
		return translate("append", err)
	}
	defer done()
	w, err := l.lockWriter(ctx)
	if err != nil {
		return translate("append", lifetime.Because(ctx, err))
	}
	log.Seal(head, id, entries)
	at, err := l.append(ctx, w, head, id, entries)
	for try := 0; try < lagTries && errors.Is(err, log.ErrConflict) && l.lagged(ctx, w, head); try++ {
		at, err = l.append(ctx, w, head, id, entries)
	}
	for try := 0; try < contendedTries && w.lostRetryably(err); try++ {
		if at, err = l.append(ctx, w, head, id, entries); errors.Is(err, log.ErrConflict) {
			// An entry with our own ID comes from our previous attempt.
			if other, ok := l.standsAfter(ctx, w, head); !ok || other == id {
				err = fmt.Errorf("%w: %v may be followed by it: %w", log.ErrUnknown, head, errTriedAgain)
			}
		}
	}
	l.unlockWriter(w, err)
	if err != nil {
		return translate("append", lifetime.Because(ctx, err))
	}
	for i := range entries {
		entries[i].Time = at
		entries[i].Checksum = entries[i].Checksum.At(at)
	}
	return nil
}

func (l *Log) append(ctx context.Context, w *writer, head log.Head, id log.AppendID, entries []log.Entry) (log.Timestamp, error) {
	if w.fits(entries) {
		return l.appendAtOnce(ctx, w, head, id, entries)
	}
	return l.appendInSteps(ctx, w, head, id, entries)
}

// lagTries bounds how often an append is tried again because its node was behind the cluster.
const lagTries = 5

// lagged reports whether a precondition failed only because this Galera node lagged behind the cluster. Its query waits
// until the node has caught up. Checking after the failure is safe, because a conflict is a definite failure; waiting
// before each INSERT would cost every append a round trip through the cluster.
func (l *Log) lagged(ctx context.Context, w *writer, head log.Head) bool {
	if !w.s.galera || !w.s.IsValid() {
		return false
	}
	var newest log.Head
	err := w.s.query(ctx, l.sql.newest, []driver.NamedValue{}, func(row []driver.Value) error {
		newest = log.Head{Position: log.Position(integer(row[0])), ID: log.AppendID(integer(row[1]))}
		return nil
	})
	return err == nil && newest == head
}

// contendedTries bounds the retries of an append that TiDB ended because of a transaction that left no row.
const contendedTries = 10

// errTriedAgain is the reason why the outcome of an append is unknown although a retry of it conflicted.
var errTriedAgain = errors.New("it was tried again")

// lostRetryably reports whether TiDB ended an append because of a concurrent transaction that left no row. That
// transaction was rolled back or is still running; other servers would wait for it. A retry is safe even if the first
// attempt took effect after all, because both insert the same rows.
func (w *writer) lostRetryably(err error) bool {
	return isNumber(err, errTiKVWriteConflict) && !errors.Is(err, log.ErrConflict) && w.s.IsValid()
}

// appendAtOnce appends in one statement, and so in one round trip.
func (l *Log) appendAtOnce(ctx context.Context, w *writer, head log.Head, id log.AppendID, entries []log.Entry) (log.Timestamp, error) {
	insert, err := l.insert(ctx, w, len(entries))
	if err != nil {
		return 0, err
	}
	w.begin(guardParameters + rowParameters*len(entries))
	defer w.release()
	w.add(int64(head.Position), int64(head.ID))
	w.addEntries(head.Position, id, 0, entries)
	result, err := insert.ExecContext(ctx, w.args)
	if err != nil {
		return 0, l.resolve(ctx, w, head, id, err)
	}
	return l.timeOf(ctx, w, head, result)
}

// timeOf returns the time of an append whose conditional INSERT has succeeded.
func (l *Log) timeOf(ctx context.Context, w *writer, head log.Head, result driver.Result) (log.Timestamp, error) {
	at, err := result.LastInsertId()
	if err == nil && at > 0 {
		return log.Timestamp(at), nil
	}
	// A proxy that answers in the server's place may drop it.
	err = errNoStore
	queryErr := w.s.query(ctx, l.sql.timeAt, arguments(int64(head.Position)+1), func(row []driver.Value) error {
		at, err = integer(row[0]), nil
		return nil
	})
	if err = errors.Join(queryErr, err); err != nil {
		return 0, fmt.Errorf("%w: %w", log.ErrUnknown, err)
	}
	return log.Timestamp(at), nil
}

// insert returns the prepared conditional INSERT for a number of rows. It evicts the least recently used INSERTs.
func (l *Log) insert(ctx context.Context, w *writer, rows int) (*insert, error) {
	w.uses++
	if found, ok := w.inserts[rows]; ok {
		found.lastUse = w.uses
		return found, nil
	}
	for w.rows > 0 && w.rows+rows > cachedRows {
		oldest := 0
		for n, i := range w.inserts {
			if oldest == 0 || i.lastUse < w.inserts[oldest].lastUse {
				oldest = n
			}
		}
		_ = w.inserts[oldest].Close() // if the connection is broken, the next statement reports it
		delete(w.inserts, oldest)
		w.rows -= oldest
	}
	p, err := w.s.prepare(ctx, l.sql.inserts(rows, l.sql.guardedRow, l.sql.timedRow))
	if err != nil {
		return nil, err
	}
	w.inserts[rows] = &insert{p, w.uses}
	w.rows += rows
	return w.inserts[rows], nil
}

// resolve turns err, the error of the statement that decides an append, into the outcome of the append.
func (l *Log) resolve(ctx context.Context, w *writer, head log.Head, id log.AppendID, err error) error {
	switch outcomeOf(err) {
	case failed:
		return err
	case conflicted:
		return fmt.Errorf("%w: it is not %v: %w", log.ErrConflict, head, err)
	case contended:
		// Usually a concurrent append won. If its entry is visible, this append has failed.
		if other, ok := l.standsAfter(ctx, w, head); ok && other != id {
			return fmt.Errorf("%w: it is not %v: %w", log.ErrConflict, head, err)
		}
	}
	return fmt.Errorf("%w: %w", log.ErrUnknown, err)
}

// standsAfter returns the ID of the entry after head, if such an entry is visible.
func (l *Log) standsAfter(ctx context.Context, w *writer, head log.Head) (id log.AppendID, ok bool) {
	err := w.s.query(ctx, l.sql.stands, arguments(int64(head.Position)+1), func(row []driver.Value) error {
		if row[0] != nil {
			id, ok = log.AppendID(integer(row[0])), true
		}
		return nil
	})
	return id, ok && err == nil
}

// appendInSteps appends entries that do not fit into one statement. Nothing takes effect before COMMIT, so until COMMIT
// is sent every error is a definite failure.
func (l *Log) appendInSteps(ctx context.Context, w *writer, head log.Head, id log.AppendID, entries []log.Entry) (log.Timestamp, error) {
	if err := w.s.execute(ctx, "SET SESSION wait_timeout = "+idleTransaction); err != nil {
		return 0, err
	}
	at, err := l.insertInSteps(ctx, w, head, id, entries)
	if err != nil {
		if outcomeOf(err) == contended { // the whole transaction was rolled back
			if other, ok := l.standsAfter(ctx, w, head); ok && other != id {
				err = fmt.Errorf("%w: it is not %v: %w", log.ErrConflict, head, err)
			}
		}
		if !errors.Is(err, log.ErrConflict) || w.s.execute(ctx, "ROLLBACK") != nil {
			_ = w.s.Close() // closing the connection rolls the transaction back, and cannot fail
		}
		return 0, err
	}
	if err := w.s.execute(ctx, "COMMIT"); err != nil {
		return 0, l.resolve(ctx, w, head, id, err)
	}
	if err := w.s.execute(ctx, "SET SESSION wait_timeout = "+idleSession); err != nil {
		_ = w.s.Close() // the append has taken effect
	}
	return at, nil
}

// insertInSteps inserts the entries in a transaction and leaves it open.
func (l *Log) insertInSteps(ctx context.Context, w *writer, head log.Head, id log.AppendID, entries []log.Entry) (log.Timestamp, error) {
	if err := w.s.execute(ctx, "START TRANSACTION"); err != nil {
		return 0, err
	}
	defer w.release()
	n := w.chunk(entries, chunkRows)
	first, err := l.insert(ctx, w, n)
	if err != nil {
		return 0, err
	}
	w.begin(guardParameters + rowParameters*n)
	w.add(int64(head.Position), int64(head.ID))
	w.addEntries(head.Position, id, 0, entries[:n])
	result, err := first.ExecContext(ctx, w.args)
	if err != nil {
		if outcomeOf(err) == conflicted {
			return 0, fmt.Errorf("%w: it is not %v: %w", log.ErrConflict, head, err)
		}
		return 0, err
	}
	at, err := l.timeOf(ctx, w, head, result)
	if err != nil {
		return 0, err
	}
	var (
		p    rawStmt
		rows int
	)
	for done := n; done < len(entries); done += n {
		n = w.chunk(entries[done:], chunkRows)
		if n != rows {
			if p != nil {
				_ = p.Close()
			}
			if p, err = w.s.prepare(ctx, l.sql.inserts(n, l.sql.plainRow, l.sql.plainRow)); err != nil {
				return 0, err
			}
			rows = n
		}
		w.release()
		w.begin((rowParameters + 1) * n)
		w.addEntries(head.Position+log.Position(done), id, at, entries[done:done+n])
		result, err := p.ExecContext(ctx, w.args)
		if err != nil {
			return 0, err
		}
		if changed, err := result.RowsAffected(); err != nil || changed != int64(n) {
			return 0, fmt.Errorf("%d rows of %d were inserted: %w", changed, n, err)
		}
	}
	if p != nil {
		_ = p.Close()
	}
	return at, w.s.refuseReadOnly(ctx)
}

// Confirm implements [log.Log].
func (l *Log) Confirm(ctx context.Context, head log.Head) error {
	return translate("confirm", l.read(ctx, l.followers, func(ctx context.Context, s *session) error {
		changed, err := s.change(ctx, l.sql.confirm, arguments(int64(head.Position), int64(head.ID)))
		if err == nil && changed == 0 {
			if err = l.stands(ctx, s, head); err == nil {
				err = errReadOnlyServer // it became read-only since stands checked
			}
		}
		return err
	}))
}
