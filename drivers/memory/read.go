package memory

import (
	"context"
	"fmt"

	"github.com/stele-db/stele/drivers/internal/lifetime"
	"github.com/stele-db/stele/logstructured/log"
)

const (
	// readBytes bounds the keys and values of one answer of Read.
	readBytes = 8 << 20
	// scanRows is the number of entries in one call of Scan's fn.
	scanRows = 512
)

// End implements [log.Log].
func (l *Log) End(ctx context.Context) (end log.End, err error) {
	err = l.locked(ctx, "end", func(db *Database) error {
		end = db.end(&db.content)
		return nil
	})
	return end, err
}

// Read implements [log.Log].
func (l *Log) Read(ctx context.Context, after log.Position, limit int) (entries []log.Entry, end log.End, err error) {
	err = l.call(ctx, "read", func(context.Context) error {
		var c content
		c, end = l.db.snapshot()
		bytes := 0
		c.rows.Ascend(after+1, func(_ log.Position, e *log.Entry) bool {
			entries = append(entries, *e)
			bytes += len(e.Key) + len(e.Value)
			return len(entries) < limit && bytes < readBytes
		})
		return nil
	})
	return entries, end, err
}

// Scan implements [log.Log].
func (l *Log) Scan(ctx context.Context, after log.Position, fn func([]log.Entry) error) (log.End, error) {
	ctx, done, err := l.beginBulk(ctx)
	if err != nil {
		return log.End{}, fmt.Errorf("memory: scan: %w", err)
	}
	defer done()
	c, end := l.db.snapshot()
	batch := make([]log.Entry, 0, scanRows)
	c.rows.Ascend(after+1, func(p log.Position, e *log.Entry) bool {
		batch = append(batch, *e)
		if e.Kind == log.KindPut {
			batch[len(batch)-1].Value = nil
		}
		if len(batch) < scanRows {
			return true
		}
		if err = fn(batch); err == nil && lifetime.Ended(ctx) != nil {
			err = fmt.Errorf("memory: scan: %w", lifetime.Ended(ctx))
		}
		batch = batch[:0]
		return err == nil
	})
	if err == nil && len(batch) > 0 {
		err = fn(batch)
	}
	if err != nil {
		return log.End{}, err
	}
	return end, nil
}

// Values implements [log.Log].
func (l *Log) Values(ctx context.Context, positions []log.Position) (log.Values, error) {
	_, done, err := l.beginBulk(ctx)
	if err != nil {
		return log.Values{}, fmt.Errorf("memory: values: %w", err)
	}
	defer done()
	c, end := l.db.snapshot()
	v := log.NewValues(len(positions))
	v.End = end
	for i, p := range positions {
		if e, ok := c.rows.Get(p); ok {
			v.Values[i], v.IDs[i], v.Checksums[i], v.Found[i] = e.Value, e.ID, e.Checksum, true
		}
	}
	return v, nil
}

// Size implements [log.Log].
func (l *Log) Size(ctx context.Context) (size log.Size, err error) {
	err = l.locked(ctx, "size", func(db *Database) error {
		size = log.Size{Total: db.bytes + db.freed, InUse: db.bytes}
		return nil
	})
	return size, err
}
