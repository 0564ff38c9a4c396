package sqlite

import (
	"context"
	"slices"
	"time"

	"github.com/stele-db/stele/drivers/internal/lifetime"
	"github.com/stele-db/stele/logstructured/log"
)

const (
	// writeSlice is how long a background transaction may keep appends waiting.
	writeSlice = 8 * time.Millisecond
	// vacuumKeep is the room that is not given back after Delete: the next appends take it.
	vacuumKeepBytes = 4 << 20
	vacuumPages     = 32
)

// Delete implements [log.Log].
func (l *Log) Delete(ctx context.Context, guard log.Head, positions []log.Position, floor log.Position) error {
	err := l.write(ctx, func(w *writer) error {
		if err := w.stands(guard); err != nil {
			return err
		}
		w.raiseFloor.bindInt64(1, int64(floor))
		return w.raiseFloor.run()
	})
	if err != nil {
		return l.translate("delete", err)
	}
	if !slices.IsSorted(positions) {
		positions = slices.Clone(positions)
		slices.Sort(positions) // the contract wants the order; and neighbours share pages
	}
	for len(positions) > 0 {
		if err := l.write(ctx, func(w *writer) (err error) {
			if err := w.stands(guard); err != nil {
				return err
			}
			positions, err = w.deleteSome(positions)
			return err
		}); err != nil {
			return l.translate("delete", err)
		}
		if err := l.yieldWriter(ctx); err != nil {
			return l.translate("delete", err)
		}
	}
	return l.translate("delete", l.vacuum(ctx, vacuumKeepBytes))
}

// write runs f in one transaction.
func (l *Log) write(ctx context.Context, f func(*writer) error) error {
	w, err := l.lockWriter(ctx)
	if err != nil {
		return err
	}
	defer l.unlockWriter()
	if err := retryBusy(ctx, l.cfg.busyTimeout, w.begin.run); err != nil {
		return err
	}
	if err := f(w); err != nil {
		return err
	}
	l.dirty.Store(true)
	return w.commit.run()
}

// yieldWriter lets appends of this and other processes through: those wait in pauses that double up to 5 ms.
func (l *Log) yieldWriter(ctx context.Context) error {
	timer := time.NewTimer(writeSlice)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-l.closed:
		return lifetime.ErrClosed
	case <-timer.C:
		return nil
	}
}

// deleteSome deletes for as long as a slice lasts and returns the rest.
func (w *writer) deleteSome(positions []log.Position) ([]log.Position, error) {
	newest, err := w.end()
	if err != nil {
		return positions, err
	}
	start := time.Now()
	for i, position := range positions {
		if i%64 == 63 && time.Since(start) > writeSlice {
			return positions[i:], nil
		}
		if position == newest.Position {
			continue
		}
		w.deleteRow.bindInt64(1, int64(position))
		if err := w.deleteRow.run(); err != nil {
			return positions, err
		}
	}
	return nil, nil
}

// vacuum gives free pages back to the file system, all but keep bytes or a tenth of the database, in small steps.
func (l *Log) vacuum(ctx context.Context, keep int64) error {
	for {
		more := false
		err := l.write(ctx, func(w *writer) error {
			for start := time.Now(); time.Since(start) < writeSlice && ctx.Err() == nil; {
				v, err := w.c.int64s(`SELECT page_count, freelist_count, page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size`, 3)
				if err != nil {
					return err
				}
				pages, free := v[0], v[1]
				spare := free
				if keep > 0 {
					spare = free - max(keep/v[2], pages/10)
				}
				if more = spare > 0; !more {
					return nil
				}
				if err := w.c.exec(vacuumSQL); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || !more {
			return err
		}
		if err := l.yieldWriter(ctx); err != nil {
			return err
		}
	}
}
