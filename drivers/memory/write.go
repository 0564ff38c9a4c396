package memory

import (
	"context"
	"fmt"
	"slices"

	"github.com/stele-db/stele/drivers/internal/lifetime"
	"github.com/stele-db/stele/logstructured/log"
)

// Append implements [log.Log]. Its outcome is never unknown.
func (l *Log) Append(ctx context.Context, head log.Head, id log.AppendID, entries []log.Entry) error {
	return l.locked(ctx, "append", func(db *Database) error {
		if db.head != head {
			return fmt.Errorf("%w: it is %v, not %v", log.ErrConflict, db.head, head)
		}
		log.Seal(head, id, entries)
		log.Stamp(entries, db.now())
		for _, e := range entries {
			e.Key, e.Value = slices.Clone(e.Key), slices.Clone(e.Value) // the caller may change its slices
			e.ValueSize = len(e.Value)
			db.rows.Set(e.Position, &e)
			db.bytes += size(&e)
			db.head = log.Head{Position: e.Position, ID: id}
		}
		db.notify(l)
		return nil
	})
}

// rowBytes estimates the memory that an entry takes in addition to its key and value.
const rowBytes = 160

// size returns the memory that an entry takes.
func size(e *log.Entry) int64 { return rowBytes + int64(len(e.Key)+len(e.Value)) }

// Confirm implements [log.Log]. It writes nothing, because an entry that can be read will not become more durable.
func (l *Log) Confirm(ctx context.Context, head log.Head) error {
	return l.locked(ctx, "confirm", func(db *Database) error { return db.check(head) })
}

// deleteRows bounds the rows deleted under one lock.
const deleteRows = 1000

// Delete implements [log.Log].
func (l *Log) Delete(ctx context.Context, guard log.Head, positions []log.Position, floor log.Position) error {
	if !slices.IsSorted(positions) {
		positions = slices.Clone(positions)
		slices.Sort(positions)
	}
	return l.call(ctx, "delete", func(ctx context.Context) error {
		if err := l.db.remove(guard, nil, floor); err != nil {
			return err
		}
		for batch := range slices.Chunk(positions, deleteRows) {
			if err := lifetime.Ended(ctx); err != nil {
				return err
			}
			if err := l.db.remove(guard, batch, floor); err != nil {
				return err
			}
		}
		return nil
	})
}

// remove runs one transaction of Delete.
func (db *Database) remove(guard log.Head, positions []log.Position, floor log.Position) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if err := db.check(guard); err != nil {
		return err
	}
	db.floor = max(db.floor, floor)
	for _, p := range positions {
		if p == db.head.Position {
			continue
		}
		if e, ok := db.rows.Delete(p); ok {
			db.bytes -= size(e)
			db.freed += size(e)
		}
	}
	return nil
}

// Defragment implements [log.Log]. The memory of deleted rows is already free, but Size counts it until Defragment, as
// it would for a file.
func (l *Log) Defragment(ctx context.Context) error {
	return l.locked(ctx, "defragment", func(db *Database) error {
		db.freed = 0
		return nil
	})
}

// Close implements [log.Log]. It does not change the database.
func (l *Log) Close() error {
	l.calls.Close()
	return nil
}
