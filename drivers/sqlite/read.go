package sqlite

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/stele-db/stele/drivers/internal/lifetime"
	"github.com/stele-db/stele/logstructured/log"
)

var _ log.Verifier = (*Log)(nil)

// endSQL is the end of the log. The newest row is found at the right edge of the table; its value is not touched. Two
// subqueries are cheaper than a join, and the clock is not asked in SQL, where it costs a third of the query.
const endSQL = `SELECT
	(SELECT position FROM stele_log ORDER BY position DESC LIMIT 1),
	(SELECT id FROM stele_log ORDER BY position DESC LIMIT 1),
	floor, cluster_id, deleted FROM stele_store`

// now is the database's clock: SQLite has none but that of the machine, which all processes that share the file are on.
func now() log.Timestamp { return log.Timestamp(time.Now().UnixMilli()) }

// class holds the connections that calls of one kind share.
type class chan *reader

func newClass(n int) class {
	c := make(class, n)
	for range n {
		c <- nil
	}
	return c
}

// reader is a connection for reading with its statements.
type reader struct {
	c                *conn
	begin, commit    *stmt
	end, read, scan_ *stmt
	value            *stmt
}

func (l *Log) newReader() (*reader, error) {
	c, err := openConn(l.cfg.path, readWrite, l.cfg.vfs)
	if err != nil {
		return nil, err
	}
	r := &reader{c: c}
	err = func() error {
		if err := l.configure(c, readerCacheKiB); err != nil {
			return err
		}
		if err := c.exec(`PRAGMA query_only = 1`); err != nil {
			return err
		}
		for _, s := range []struct {
			stmt **stmt
			sql  string
		}{
			{&r.begin, `BEGIN`},
			{&r.commit, `COMMIT`},
			{&r.end, endSQL},
			{&r.read, `SELECT position, id, time, kind, revision, sub, key, create_revision, version, lease, checksum, value
				FROM stele_log WHERE position > ? ORDER BY position LIMIT ?`},
			// The value of a put is not even looked at: its length stands in the row's header.
			{&r.scan_, `SELECT position, id, time, kind, revision, sub, key, create_revision, version, lease, checksum,
				CASE kind WHEN 1 THEN NULL ELSE value END, length(value)
				FROM stele_log WHERE position > ? ORDER BY position`},
			{&r.value, `SELECT value, id, checksum FROM stele_log WHERE position = ?`},
		} {
			if *s.stmt, err = c.prepare(s.sql); err != nil {
				return err
			}
		}
		return nil
	}()
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	return r, nil
}

// read runs f with a connection of class from, again when the database was busy (which readers of a WAL meet only while
// it is recovered or removed). f must leave all statements reset, or return an error.
func (l *Log) read(ctx context.Context, from class, f func(*reader) error) error {
	var r *reader
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-l.closed:
		return lifetime.ErrClosed
	case r = <-from:
	}
	defer func() { from <- r }()
	if err := l.live(ctx); err != nil {
		return err
	}
	return retryBusy(ctx, l.cfg.busyTimeout, func() (err error) {
		if r == nil {
			if r, err = l.newReader(); err != nil {
				return err
			}
		}
		if err = f(r); err == nil {
			return nil
		}
		// Start over with a fresh connection: errors are rare, and it has no transaction and no statement left open.
		_ = r.c.close()
		r = nil
		return err
	})
}

// snapshot runs f in a read transaction and returns the end of the log as of the same snapshot.
func (l *Log) snapshot(ctx context.Context, from class, f func(*reader) error) (log.End, error) {
	var end log.End
	err := l.read(ctx, from, func(r *reader) error {
		if err := r.begin.run(); err != nil {
			return err
		}
		// The end comes first: it makes the snapshot.
		var err error
		if end, err = r.readEnd(); err != nil {
			return err
		}
		if err := f(r); err != nil {
			return err
		}
		return r.commit.run()
	})
	return end, err
}

func (r *reader) readEnd() (log.End, error) {
	row, err := r.end.step()
	if err != nil {
		return log.End{}, err
	}
	if !row {
		return log.End{}, errNoStore
	}
	end := log.End{
		Head: log.Head{
			Position: log.Position(r.end.int64(0)),
			ID:       log.AppendID(r.end.int64(1)),
		},
		Floor:     log.Position(r.end.int64(2)),
		ClusterID: uint64(r.end.int64(3)),
		Now:       now(),
	}
	end.Rows = int64(end.Position) - r.end.int64(4)
	r.end.reset()
	return end, nil
}

// errNoStore reports that the row with the store's identity is gone.
var errNoStore = errors.Join(log.ErrCorrupt, errors.New("table stele_store is empty"))

// End implements [log.Log].
func (l *Log) End(ctx context.Context) (end log.End, err error) {
	err = l.read(ctx, l.followers, func(r *reader) (err error) {
		end, err = r.readEnd()
		return err
	})
	return end, l.translate("end", err)
}

// Verify implements [log.Verifier]. Unlike the checksums of rows, SQLite's own check notices rows that are missing.
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

// entry reads the columns before the value.
func (s *stmt) entry() log.Entry {
	return log.Entry{
		Position:       log.Position(s.int64(0)),
		ID:             log.AppendID(s.int64(1)),
		Time:           log.Timestamp(s.int64(2)),
		Kind:           log.Kind(s.int64(3)),
		Revision:       log.Revision(s.int64(4)),
		Sub:            s.int64(5),
		Key:            slices.Clone(s.blob(6)),
		CreateRevision: log.Revision(s.int64(7)),
		Version:        s.int64(8),
		Lease:          log.LeaseID(s.int64(9)),
		Checksum:       log.Checksum(s.int64(10)), // NULL is 0
	}
}

// scanBatch is the number of entries handed over at once: enough to make the calls cheap, few enough to stay in cache.
const scanBatch = 512

// Scan implements [log.Log].
func (l *Log) Scan(ctx context.Context, after log.Position, fn func([]log.Entry) error) (log.End, error) {
	var fnErr error
	called := false
	end, err := l.snapshot(ctx, l.readers, func(r *reader) error {
		if called { // a busy database shows before the first row; fn must not see rows twice if it ever shows later
			return errScanEnded
		}
		r.scan_.bindInt64(1, int64(after))
		batch := make([]log.Entry, 0, scanBatch)
		for {
			row, err := r.scan_.step()
			if err != nil {
				return err
			}
			if row {
				e := r.scan_.entry()
				e.Value = slices.Clone(r.scan_.blob(11))
				e.ValueSize = int(r.scan_.int64(12))
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

// errScanEnded ends a scan whose rows cannot be handed over.
var errScanEnded = errors.New("scan ended early")

// Values implements [log.Log].
func (l *Log) Values(ctx context.Context, positions []log.Position) (log.Values, error) {
	v := log.NewValues(len(positions))
	var err error
	v.End, err = l.snapshot(ctx, l.readers, func(r *reader) error {
		// One seek each, in one snapshot: within the process there is no round trip that a list would save.
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
