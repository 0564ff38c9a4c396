package mysql

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/logstructured/log"
)

// Delete implements [log.Log].
func (l *Log) Delete(ctx context.Context, guard log.Head, positions []log.Position, floor log.Position) error {
	return translate("delete", l.run(ctx, l.others, func(ctx context.Context, s *session) error {
		raise := arguments(int64(floor), int64(floor), int64(guard.Position), int64(guard.ID))
		if _, err := s.change(ctx, l.sql.raiseFloor, raise); err != nil {
			return err
		}
		if err := l.checkEntry(ctx, s, guard); err != nil {
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

// checkEntry returns nil if the log contains the entry that head names. It returns [log.ErrConflict] if not, and
// [log.ErrReadOnly] if the server takes no writes.
func (l *Log) checkEntry(ctx context.Context, s *session, head log.Head) error {
	err := fmt.Errorf("%w: %v is not there", log.ErrConflict, head)
	queryErr := s.query(ctx, l.sql.entryAt, arguments(int64(head.Position)), func(row []driver.Value) error {
		switch {
		case integer(row[1]) == 0:
			err = errReadOnlyServer
		case row[0] != nil && log.AppendID(integer(row[0])) == head.ID:
			err = nil
		}
		return nil
	})
	if queryErr != nil {
		return queryErr
	}
	return err
}

// remove deletes the positions that are below newest, one list at a time.
func (l *Log) remove(ctx context.Context, s *session, guard log.Head, positions []log.Position, newest int64) error {
	for len(positions) > 0 {
		statement := pick(l.sql.remove, len(positions))
		batch := positions[:min(len(positions), statement.rows)]
		positions = positions[len(batch):]
		args := make([]driver.NamedValue, statement.rows, statement.rows+3)
		for i := range args {
			args[i].Value = int64(batch[min(i, len(batch)-1)])
		}
		args = append(args, arguments(newest, int64(guard.Position), int64(guard.ID))...)
		changed, err := s.change(ctx, statement.sql, args)
		if err == nil && changed < int64(len(batch)) { // some rows were deleted before, or the guard is gone
			err = l.checkEntry(ctx, s, guard)
		}
		if err != nil {
			return fmt.Errorf("positions %d to %d: %w", batch[0], batch[len(batch)-1], err)
		}
		if len(positions) == 0 {
			break
		}
		if err := connect.Pause(ctx, deletePause); err != nil {
			return err
		}
	}
	return nil
}
