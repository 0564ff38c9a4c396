package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/stele-db/stele/logstructured/log"
)

// Append implements [log.Log].
func (l *Log) Append(ctx context.Context, head log.Head, id log.AppendID, entries []log.Entry) error {
	var at log.Timestamp
	err := l.calls.Run(ctx, func(ctx context.Context) error {
		w, err := l.lockWriter(ctx)
		if err != nil {
			return err
		}
		log.Seal(head, id, entries)
		at, err = w.s.engine.append(ctx, appending{w, head, id, entries})
		l.unlockWriter(w, err)
		return err
	})
	if err == nil {
		log.Stamp(entries, at)
	}
	return translate("append", err)
}

// appending is an append of sealed entries after head. It implements [attempt].
type appending struct {
	w       *writer
	head    log.Head
	id      log.AppendID
	entries []log.Entry
}

// run implements [attempt].
func (a appending) run(ctx context.Context) (log.Timestamp, error) {
	if a.w.fits(a.entries) {
		return a.runAtOnce(ctx)
	}
	return a.runInSteps(ctx)
}

// runAtOnce appends in one statement, and so in one round trip.
func (a appending) runAtOnce(ctx context.Context) (log.Timestamp, error) {
	insert, err := a.w.conditionalInsert(ctx, len(a.entries))
	if err != nil {
		return 0, err
	}
	defer a.w.release()
	result, err := a.insertFirst(ctx, insert, a.entries)
	if err != nil {
		return 0, a.resolve(ctx, err)
	}
	return a.timeOf(ctx, result)
}

// insertFirst runs a conditional INSERT of the first entries.
func (a appending) insertFirst(ctx context.Context, insert *insert, entries []log.Entry) (driver.Result, error) {
	w := a.w
	w.begin(headParameters + rowParameters*len(entries))
	w.add(int64(a.head.Position), int64(a.head.ID))
	w.addEntries(a.head.Position, a.id, 0, entries)
	return insert.ExecContext(ctx, w.args)
}

// timeOf returns the time of an append whose conditional INSERT has succeeded.
func (a appending) timeOf(ctx context.Context, result driver.Result) (log.Timestamp, error) {
	at, err := result.LastInsertId()
	if err == nil && at > 0 {
		return log.Timestamp(at), nil
	}
	// A proxy that answers in the server's place may drop it.
	err = errNoStore
	first := arguments(int64(a.head.Position) + 1)
	queryErr := a.w.s.query(ctx, a.w.sql.timeAt, first, func(row []driver.Value) error {
		at, err = integer(row[0]), nil
		return nil
	})
	if err = errors.Join(queryErr, err); err != nil {
		return 0, fmt.Errorf("%w: %w", log.ErrUnknown, err)
	}
	return log.Timestamp(at), nil
}

// resolve turns err, the error of the statement that decides the append, into the outcome of the append.
func (a appending) resolve(ctx context.Context, err error) error {
	switch outcomeOf(err) {
	case failed:
		return err
	case conflicted:
		return a.conflict(err)
	case contended:
		if a.lost(ctx) {
			return a.conflict(err)
		}
	}
	return fmt.Errorf("%w: %w", log.ErrUnknown, err)
}

// conflict returns the error of an append after another head, which the server reported by err.
func (a appending) conflict(err error) error {
	return fmt.Errorf("%w: it is not %v: %w", log.ErrConflict, a.head, err)
}

// lost reports whether the entry of another append is visible after the head, so that this append has failed.
func (a appending) lost(ctx context.Context) (lost bool) {
	first := arguments(int64(a.head.Position) + 1)
	err := a.w.s.query(ctx, a.w.sql.entryAt, first, func(row []driver.Value) error {
		lost = row[0] != nil && log.AppendID(integer(row[0])) != a.id
		return nil
	})
	return lost && err == nil
}

// usable implements [attempt].
func (a appending) usable() bool { return a.w.s.IsValid() }

// lagged implements [attempt]. On a Galera node its query waits until the node has caught up.
func (a appending) lagged(ctx context.Context) bool {
	var newest log.Head
	err := a.w.s.query(ctx, a.w.sql.newest, []driver.NamedValue{}, func(row []driver.Value) error {
		newest = log.Head{Position: log.Position(integer(row[0])), ID: log.AppendID(integer(row[1]))}
		return nil
	})
	return err == nil && newest == a.head
}

// retried implements [attempt]. A conflict with an entry of our own ID, or with none that is visible, may be a conflict
// with the first attempt.
func (a appending) retried(ctx context.Context, err error) error {
	if !errors.Is(err, log.ErrConflict) || a.lost(ctx) {
		return err
	}
	return fmt.Errorf("%w: %v may be followed by it: %w", log.ErrUnknown, a.head, errTriedAgain)
}

// errTriedAgain is the reason why the outcome of an append is unknown although a retry of it conflicted.
var errTriedAgain = errors.New("it was tried again")

// Confirm implements [log.Log].
func (l *Log) Confirm(ctx context.Context, head log.Head) error {
	return translate("confirm", l.run(ctx, l.followers, func(ctx context.Context, s *session) error {
		changed, err := s.change(ctx, l.sql.confirm, arguments(int64(head.Position), int64(head.ID)))
		if err == nil && changed == 0 {
			if err = l.checkEntry(ctx, s, head); err == nil {
				err = errReadOnlyServer // it became read-only since checkEntry read the setting
			}
		}
		return err
	}))
}
