package logstructured

import (
	"context"
	"fmt"

	"github.com/stele-db/stele/logstructured/hashkv"
	"github.com/stele-db/stele/logstructured/log"
)

// Check returns an error if a server could not load the log. It needs as much memory as a server.
func (m *Import) Check(ctx context.Context) error {
	if err := m.Flush(ctx); err != nil {
		return err
	}
	_, err := loadLog(ctx, m.log)
	return err
}

// HashKV reads the whole log twice and returns its hashes, for a history with these current and compact revisions. If
// progress is not nil, HashKV calls it with the number of entries read so far. It keeps 50 to 100 bytes for each key.
func (m *Import) HashKV(ctx context.Context, revision, compact Revision,
	progress func(entries int)) (sums hashkv.Sums, err error) {
	if err := m.Flush(ctx); err != nil {
		return sums, err
	}
	h := hashkv.NewHistory(compact, revision)
	_, err = m.log.Scan(ctx, 0, func(entries []log.Entry) error {
		return eachWrite(entries, func(e *log.Entry) error {
			h.Observe(e)
			return nil
		})
	})
	if err != nil {
		return sums, fmt.Errorf("%w (read the log)", err)
	}
	for at := log.Position(0); at < m.head.Position; {
		entries, end, err := m.log.Read(ctx, at, maxImportEntries)
		switch {
		case err != nil:
			return sums, fmt.Errorf("%w (read the log)", err)
		case end.Head != m.head:
			return sums, fmt.Errorf("%w: something else writes to it", ErrImportTarget)
		case len(entries) == 0 || entries[0].Position != at+1:
			return sums, fmt.Errorf("%w: there is no entry at position %d", log.ErrCorrupt, at+1)
		}
		if err := eachWrite(entries, h.Add); err != nil {
			return sums, err
		}
		at = entries[len(entries)-1].Position
		if progress != nil {
			progress(int(at)) // positions have no gaps in a log that was only appended to
		}
	}
	return h.Sums(), nil
}

// eachWrite calls fn with the puts and tombstones among entries.
func eachWrite(entries []log.Entry, fn func(*log.Entry) error) error {
	for i := range entries {
		if e := &entries[i]; e.Kind == log.KindPut || e.Kind == log.KindTombstone {
			if err := fn(e); err != nil {
				return err
			}
		}
	}
	return nil
}
