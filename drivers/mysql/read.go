package mysql

import (
	"bytes"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/stele-db/stele/logstructured/log"
)

// End implements [log.Log].
func (l *Log) End(ctx context.Context) (end log.End, err error) {
	if err := l.writable(ctx); err != nil {
		return end, translate("end", err)
	}
	err = l.run(ctx, l.followers, func(ctx context.Context, s *session) error {
		var readOnly string
		if end, readOnly, err = l.endNow(ctx, s); err != nil {
			return err
		}
		if readOnly != "0" && readOnly != "OFF" { // later versions of MariaDB have several read-only values
			return fmt.Errorf("%w: the server has read_only = %s", log.ErrReadOnly, readOnly)
		}
		return nil
	})
	return end, translate("end", err)
}

// endNow reads the end of the log and the server's read_only.
func (l *Log) endNow(ctx context.Context, s *session) (end log.End, readOnly string, err error) {
	found := false
	err = s.query(ctx, l.sql.end, []driver.NamedValue{}, func(row []driver.Value) error {
		found, readOnly = true, text(row[5])
		end = log.End{
			Head:      log.Head{Position: log.Position(integer(row[0])), ID: log.AppendID(integer(row[1]))},
			Floor:     log.Position(integer(row[2])),
			ClusterID: uint64(integer(row[3])),
			Now:       log.Timestamp(integer(row[4])),
		}
		return nil
	})
	if err == nil && (!found || end.ClusterID == 0) {
		err = errNoStore
	}
	return end, readOnly, err
}

// endOf reads the end from the first row of a query.
func endOf(row []driver.Value) log.End {
	return log.End{
		Head:      log.Head{Position: log.Position(integer(row[0])), ID: log.AppendID(integer(row[1]))},
		Now:       log.Timestamp(integer(row[2])),
		Floor:     log.Position(integer(row[4])),
		ClusterID: uint64(integer(row[5])),
	}
}

// rows runs a query whose first row is the end, and calls f with the remaining rows.
func rows(
	ctx context.Context, s *session, query string, args []driver.NamedValue, f func([]driver.Value) error,
) (end log.End, err error) {
	found := false
	err = s.query(ctx, query, args, func(row []driver.Value) error {
		if found {
			return f(row)
		}
		if integer(row[3]) != 0 { // the kind is 0 for the end only
			return errors.New("the server sends the parts of a UNION ALL in disorder")
		}
		end, found = endOf(row), true
		if end.ClusterID == 0 {
			return errNoStore
		}
		return nil
	})
	if err == nil && !found {
		err = errNoStore
	}
	return end, err
}

const (
	// readBytes bounds the keys and values of one answer of Read.
	readBytes = 8 << 20
	// readRows bounds the rows of one query of Read, because rows beyond readBytes are sent for nothing.
	readRows = 4096
)

// errEnough ends a query before its last row.
var errEnough = errors.New("enough")

// Read implements [log.Log].
func (l *Log) Read(ctx context.Context, after log.Position, limit int) ([]log.Entry, log.End, error) {
	var (
		entries []log.Entry
		end     log.End
		size    int
	)
	err := l.run(ctx, l.followers, func(ctx context.Context, s *session) (err error) {
		args := arguments(max(0, int64(after)), int64(min(limit, readRows)))
		end, err = rows(ctx, s, l.sql.read, args, func(row []driver.Value) error {
			if size >= readBytes {
				return errEnough // closes the connection, which is cheaper than receiving the remaining rows
			}
			e := entryOf(row)
			e.ValueSize = len(e.Value)
			size += len(e.Key) + len(e.Value)
			entries = append(entries, e)
			return nil
		})
		return err
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, end, translate("read", err)
	}
	return entries, end, nil
}

// entryOf converts a row of the log to an entry.
func entryOf(row []driver.Value) log.Entry {
	return log.Entry{
		Position:       log.Position(integer(row[0])),
		ID:             log.AppendID(integer(row[1])),
		Time:           log.Timestamp(integer(row[2])),
		Kind:           log.Kind(integer(row[3])),
		Revision:       log.Revision(integer(row[4])),
		Sub:            integer(row[5]),
		Key:            blob(row[6]),
		CreateRevision: log.Revision(integer(row[7])),
		Version:        integer(row[8]),
		Lease:          log.LeaseID(integer(row[9])),
		Value:          blob(row[10]),
		Checksum:       checksumOf(row[12]),
	}
}

// checksumOf reads a checksum, which is NULL in rows written by earlier versions.
func checksumOf(v driver.Value) log.Checksum {
	if v == nil {
		return 0
	}
	return log.Checksum(integer(v))
}

// blob copies bytes out of the connection's buffer.
func blob(v driver.Value) []byte {
	b, _ := v.([]byte)
	return bytes.Clone(b)
}

// scanBatch is the number of entries handed over at once.
const scanBatch = 512

// Scan implements [log.Log].
func (l *Log) Scan(ctx context.Context, after log.Position, fn func([]log.Entry) error) (log.End, error) {
	var (
		end   log.End
		fnErr error
	)
	err := l.run(ctx, l.others, func(unwatched context.Context, s *session) (err error) {
		batch := make([]log.Entry, 0, scanBatch)
		flush := func() error {
			// The end of ctx may interrupt the connection only after rows that have already been received.
			if err := ctx.Err(); err != nil {
				return err
			}
			if fnErr = fn(batch); fnErr != nil {
				return errEnough
			}
			batch = batch[:0]
			return nil
		}
		return s.snapshot(unwatched, func() error {
			if end, _, err = l.endNow(unwatched, s); err != nil {
				return err
			}
			// Rows are processed as they arrive, so neither side holds all of them in memory.
			err = s.query(unwatched, l.sql.scan, arguments(max(0, int64(after))), func(row []driver.Value) error {
				e := entryOf(row)
				e.ValueSize = int(integer(row[11]))
				if batch = append(batch, e); len(batch) == scanBatch {
					return flush()
				}
				return nil
			})
			if err == nil && len(batch) > 0 {
				err = flush()
			}
			return err
		})
	})
	if fnErr != nil {
		return end, fnErr
	}
	return end, translate("scan", err)
}

// Values implements [log.Log].
func (l *Log) Values(ctx context.Context, positions []log.Position) (log.Values, error) {
	v := log.NewValues(len(positions))
	err := l.run(ctx, l.others, func(ctx context.Context, s *session) error {
		if len(positions) <= listSizes[len(listSizes)-1] {
			_, err := l.valuesOnce(ctx, s, positions, 0, &v)
			return err
		}
		return s.snapshot(ctx, func() error {
			for first := 0; first < len(positions); {
				n, err := l.valuesOnce(ctx, s, positions, first, &v)
				if err != nil {
					return err
				}
				first += n
			}
			return nil
		})
	})
	return v, translate("values", err)
}

// valuesOnce reads the values of as many positions, from index first, as fit into one query, and returns their number.
func (l *Log) valuesOnce(
	ctx context.Context, s *session, positions []log.Position, first int, v *log.Values,
) (int, error) {
	query := pick(l.sql.values, len(positions)-first)
	batch := positions[first:min(len(positions), first+query.rows)]
	at := make(map[log.Position]int, len(batch)) // the first index of each position
	args := make([]driver.NamedValue, query.rows)
	for i, p := range batch {
		if _, ok := at[p]; !ok {
			at[p] = i
		}
		args[i].Value = int64(p)
	}
	for i := len(batch); i < len(args); i++ {
		args[i].Value = int64(0)
	}
	var err error
	v.End, err = rows(ctx, s, query.sql, args, func(row []driver.Value) error {
		i, ok := at[log.Position(integer(row[0]))]
		if !ok {
			return fmt.Errorf("a row that was not asked for: %w", log.ErrCorrupt)
		}
		v.Values[first+i], v.Found[first+i] = blob(row[6]), true
		v.IDs[first+i], v.Checksums[first+i] = log.AppendID(integer(row[1])), checksumOf(row[7])
		return nil
	})
	if err != nil {
		return 0, err
	}
	for i, p := range batch { // copy the values of positions that are named twice
		if j := at[p]; j != i {
			v.Values[first+i], v.Found[first+i] = v.Values[first+j], v.Found[first+j]
			v.IDs[first+i], v.Checksums[first+i] = v.IDs[first+j], v.Checksums[first+j]
		}
	}
	return len(batch), nil
}
