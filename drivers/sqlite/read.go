package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/stele-db/stele/logstructured/log"
)

var _ log.Verifier = (*Log)(nil)

// End implements [log.Log].
func (l *Log) End(ctx context.Context) (end log.End, err error) {
	err = l.read(ctx, l.followers, func(r *reader) (err error) {
		end, err = r.readEnd()
		return err
	})
	return end, l.translate("end", err)
}

// Verify implements [log.Verifier]. Unlike the checksums of rows, SQLite's own check detects missing rows.
func (l *Log) Verify(ctx context.Context) (problems []string, err error) {
	err = l.read(ctx, l.readers, func(r *reader) (err error) {
		defer r.c.interruptWhenDone(ctx, l.closed)()
		problems, err = r.c.strings(`PRAGMA integrity_check`)
		return err
	})
	if len(problems) == 1 && problems[0] == "ok" {
		problems = nil
	}
	return problems, l.translate("verify", err)
}

// readBytes bounds the keys and values of one answer of Read.
const readBytes = 8 << 20

// Read implements [log.Log].
func (l *Log) Read(ctx context.Context, after log.Position, limit int) ([]log.Entry, log.End, error) {
	var entries []log.Entry
	end, err := l.snapshot(ctx, l.followers, func(r *reader) error {
		entries = entries[:0]
		r.read.bindInt64(1, int64(after))
		r.read.bindInt64(2, int64(limit))
		for size := 0; size < readBytes; {
			row, err := r.read.step()
			if err != nil || !row {
				return err
			}
			e := r.read.entry()
			e.Value = slices.Clone(r.read.blob(11))
			e.ValueSize = len(e.Value)
			entries = append(entries, e)
			size += len(e.Key) + len(e.Value)
			if err := l.live(ctx); err != nil {
				return err
			}
		}
		r.read.reset()
		return nil
	})
	if err != nil {
		return nil, end, l.translate("read", err)
	}
	return entries, end, nil
}

// scanBatch is the number of entries in one call of fn: large enough to make the calls cheap, and small enough for the
// CPU's cache.
const scanBatch = 512

// Scan implements [log.Log].
func (l *Log) Scan(ctx context.Context, after log.Position, fn func([]log.Entry) error) (log.End, error) {
	var fnErr error
	called := false
	end, err := l.snapshot(ctx, l.readers, func(r *reader) error {
		if called { // a retry would pass rows to fn twice (a busy database normally shows before the first row)
			return errScanEnded
		}
		r.scanRows.bindInt64(1, int64(after))
		batch := make([]log.Entry, 0, scanBatch)
		for {
			row, err := r.scanRows.step()
			if err != nil {
				return err
			}
			if row {
				e := r.scanRows.entry()
				e.Value = slices.Clone(r.scanRows.blob(11))
				e.ValueSize = int(r.scanRows.int64(12))
				batch = append(batch, e)
			}
			if len(batch) == scanBatch || !row && len(batch) > 0 {
				if err := l.live(ctx); err != nil {
					return err
				}
				called = true
				if fnErr = fn(batch); fnErr != nil {
					return errScanEnded
				}
				batch = batch[:0]
			}
			if !row {
				return nil
			}
		}
	})
	if fnErr != nil {
		return end, fnErr
	}
	return end, l.translate("scan", err)
}

// errScanEnded ends a scan early.
var errScanEnded = errors.New("scan ended early")

// Values implements [log.Log].
func (l *Log) Values(ctx context.Context, positions []log.Position) (log.Values, error) {
	v := log.NewValues(len(positions))
	var err error
	v.End, err = l.snapshot(ctx, l.readers, func(r *reader) error {
		// Use one query per position, all in one snapshot: in-process there are no round trips that a list would save.
		for i, position := range positions {
			if err := l.live(ctx); err != nil {
				return err
			}
			r.value.bindInt64(1, int64(position))
			row, err := r.value.step()
			if err != nil {
				return err
			}
			if row {
				v.Values[i], v.Found[i] = slices.Clone(r.value.blob(0)), true
				v.IDs[i], v.Checksums[i] = log.AppendID(r.value.int64(1)), log.Checksum(r.value.int64(2))
				r.value.reset()
			}
		}
		return nil
	})
	return v, l.translate("values", err)
}

// Size implements [log.Log]. It measures the database file without the WAL, which is bounded and temporary.
func (l *Log) Size(ctx context.Context) (log.Size, error) {
	var size log.Size
	err := l.read(ctx, l.readers, func(r *reader) error {
		v, err := r.c.int64s(`SELECT page_count * page_size, freelist_count * page_size
			FROM pragma_page_count, pragma_freelist_count, pragma_page_size`, 2)
		if err == nil {
			size.Total, size.InUse = v[0], v[0]-v[1]
		}
		return err
	})
	if err != nil {
		return size, l.translate("size", err)
	}
	info, err := os.Stat(l.cfg.path)
	if err != nil {
		return size, fmt.Errorf("sqlite: size: %w", err)
	}
	// Until a checkpoint, the file may be smaller or larger than the database's pages.
	size.Total = max(size.Total, info.Size())
	return size, nil
}
