package sqlite

import (
	"context"
	"slices"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// Delete implements [log.Log].
func (l *Log) Delete(ctx context.Context, guard log.Head, positions []log.Position, floor log.Position) error {
	err := l.write(ctx, func(w *writer) error {
		if err := w.checkEntry(guard); err != nil {
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
		slices.Sort(positions) // the contract requires this order, and adjacent positions share pages
	}
	for len(positions) > 0 {
		if err := l.write(ctx, func(w *writer) (err error) {
			if err := w.checkEntry(guard); err != nil {
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

// deleteSome deletes positions for at most writeSlice and returns the remaining ones.
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
