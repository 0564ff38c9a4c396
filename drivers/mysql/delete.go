package mysql

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// Delete implements [log.Log].
func (l *Log) Delete(ctx context.Context, guard log.Head, positions []log.Position, floor log.Position) error {
	return translate("delete", l.read(ctx, l.others, func(ctx context.Context, s *session) error {
		if _, err := s.change(ctx, l.sql.raiseFloor, arguments(int64(floor), int64(floor), int64(guard.Position), int64(guard.ID))); err != nil {
			return err
		}
		if err := l.stands(ctx, s, guard); err != nil {
			return err
		}
		// Later appends only add rows above it, so the newest row is never deleted.
		var newest int64
		if err := s.query(ctx, l.sql.newest, []driver.NamedValue{}, func(row []driver.Value) error {
			newest = integer(row[0])
			return nil
		}); err != nil {
			return err
		}
		if !slices.IsSorted(positions) {
			positions = slices.Clone(positions)
			slices.Sort(positions)
		}
		return l.remove(ctx, s, guard, positions, newest)
	}))
}

// stands returns nil if the log contains the entry that head names. It returns [log.ErrConflict] if not, and
// [log.ErrReadOnly] if the server takes no writes.
func (l *Log) stands(ctx context.Context, s *session, head log.Head) error {
	err := fmt.Errorf("%w: %v is not there", log.ErrConflict, head)
	if queryErr := s.query(ctx, l.sql.stands, arguments(int64(head.Position)), func(row []driver.Value) error {
		switch {
		case integer(row[1]) == 0:
			err = errReadOnlyServer
		case row[0] != nil && log.AppendID(integer(row[0])) == head.ID:
			err = nil
		}
		return nil
	}); queryErr != nil {
		return queryErr
	}
	return err
}

// remove deletes the positions that are below newest, one list at a time.
func (l *Log) remove(ctx context.Context, s *session, guard log.Head, positions []log.Position, newest int64) error {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for len(positions) > 0 {
		statement := pick(l.sql.remove, len(positions))
		some := positions[:min(len(positions), statement.rows)]
		positions = positions[len(some):]
		args := make([]driver.NamedValue, statement.rows, statement.rows+3)
		for i := range args {
			args[i].Value = int64(some[min(i, len(some)-1)])
		}
		changed, err := s.change(ctx, statement.sql, append(args, arguments(newest, int64(guard.Position), int64(guard.ID))...))
		if err == nil && changed < int64(len(some)) { // some rows were deleted before, or the guard is gone
			err = l.stands(ctx, s, guard)
		}
		if err != nil {
			return fmt.Errorf("positions %d to %d: %w", some[0], some[len(some)-1], err)
		}
		if len(positions) == 0 {
			break
		}
		pause.Reset(deletePause)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-pause.C:
		}
	}
	return nil
}
