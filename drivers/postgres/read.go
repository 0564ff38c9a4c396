package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/logstructured/log"
)

const (
	// endColumns is the number of leading columns that hold the end of the log.
	endColumns = 5
	// readBytes bounds the keys and values of one answer of Read.
	readBytes = 8 << 20
	// scanBatch is the number of entries handed over at once.
	scanBatch = 512
	// valuesBatch bounds the positions in one query. The answer is streamed, so only the list itself takes memory.
	valuesBatch = 32768
)

// endOf decodes the end of the log from the first columns of a row.
func endOf(row [][]byte) log.End {
	return log.End{
		Head: log.Head{
			Position: log.Position(int64Of(row[0])),
			ID:       log.AppendID(int64Of(row[1])),
		},
		Floor:     log.Position(int64Of(row[2])),
		ClusterID: uint64(int64Of(row[3])),
		Now:       log.Timestamp(int64Of(row[4])),
	}
}

// entryOf decodes an entry, except its value, from the columns of a row.
func entryOf(row [][]byte) log.Entry {
	return log.Entry{
		Position:       log.Position(int64Of(row[0])),
		ID:             log.AppendID(int64Of(row[1])),
		Time:           log.Timestamp(int64Of(row[2])),
		Kind:           log.Kind(uint16(row[3][0])<<8 | uint16(row[3][1])),
		Revision:       log.Revision(int64Of(row[4])),
		Sub:            int64Of(row[5]),
		Key:            slices.Clone(row[6]),
		CreateRevision: log.Revision(int64Of(row[7])),
		Version:        int64Of(row[8]),
		Lease:          log.LeaseID(int64Of(row[9])),
		Checksum:       checksumOf(row[10]),
	}
}

// checksumOf decodes a checksum, which is NULL in rows written by earlier versions.
func checksumOf(b []byte) log.Checksum {
	if b == nil {
		return 0
	}
	return log.Checksum(int64Of(b))
}

// End implements [log.Log]. It answers from a server that takes writes. Where commits wait for a standby it also
// commits, which a primary that was replaced by that standby cannot do.
func (l *Log) End(ctx context.Context) (log.End, error) {
	var end log.End
	if err := l.writable(ctx); err != nil {
		return end, err
	}
	err := l.request(ctx, "end", l.followers, func(ctx context.Context, c *pgconn.PgConn) error {
		for {
			durable := l.durableEnd.Load()
			q := &l.sql.end
			if durable {
				q = &l.sql.endDurable
			}
			found, readOnly, standbys := false, false, false
			err := l.rows(ctx, c, q, nil, func(row [][]byte) error {
				found = true
				end, readOnly, standbys = endOf(row), row[5][0] != 0, row[6][0] != 0
				return nil
			})
			switch {
			case err != nil:
				if durable && l.several && ctx.Err() != nil {
					// The commit did not finish in time. Another server may be the primary by now.
					l.hosts.pass(c)
					l.reconnect()
				}
				return err
			case !found:
				return errNoHead
			case readOnly:
				return errReadOnlyServer
			case durable && warned(c):
				return errWaitCanceled
			case durable || !standbys:
				l.durableEnd.Store(standbys)
				return nil
			}
			l.durableEnd.Store(true)
		}
	})
	if err != nil {
		return log.End{}, err
	}
	l.report(end.Position)
	return end, nil
}

// snapshotFunc sends a request and returns the end of the log. It need not read anything else if the end is before
// reported.
type snapshotFunc func(ctx context.Context, c *pgconn.PgConn, reported log.Position) (log.End, error)

// snapshot runs f for a request that also returns the end of the log. An end before the reported position comes from a
// server that is no longer the primary, so snapshot tries a fresh connection. If that returns such an end too, the
// database was reset to an earlier state.
func (l *Log) snapshot(
	ctx context.Context, op string, from *connect.Class[*pgxpool.Conn], f snapshotFunc,
) (log.End, error) {
	reported := l.reported.Load()
	atLeast := log.Position(reported)
	for {
		var end log.End
		err := l.request(ctx, op, from, func(ctx context.Context, c *pgconn.PgConn) (err error) {
			end, err = f(ctx, c, atLeast)
			return err
		})
		switch {
		case err != nil:
			return log.End{}, err
		case end.Position < atLeast:
			l.reconnect()
			atLeast = 0
			continue
		case int64(end.Position) < reported:
			l.reported.CompareAndSwap(reported, int64(end.Position))
		}
		l.report(end.Position)
		return end, nil
	}
}

// errEnough ends a query before its last row and closes the connection, which is cheaper than receiving the rest.
var errEnough = errors.New("enough")

// Read implements [log.Log].
func (l *Log) Read(ctx context.Context, after log.Position, limit int) ([]log.Entry, log.End, error) {
	var entries []log.Entry
	params := int8Params(int64(after), int64(limit))
	read := func(ctx context.Context, c *pgconn.PgConn, _ log.Position) (log.End, error) {
		entries = nil
		size := 0
		end, err := l.withEnd(ctx, c, &l.sql.read, params, func(row [][]byte) error {
			if size >= readBytes {
				return errEnough
			}
			e := entryOf(row)
			e.Value = slices.Clone(row[11])
			e.ValueSize = len(e.Value)
			size += len(e.Key) + len(e.Value)
			entries = append(entries, e)
			return nil
		})
		if errors.Is(err, errEnough) {
			err = nil
		}
		return end, err
	}
	end, err := l.snapshot(ctx, "read", l.followers, read)
	if err != nil {
		return nil, end, err
	}
	byPosition := func(a, b log.Entry) int { return int(a.Position - b.Position) }
	if !slices.IsSortedFunc(entries, byPosition) {
		slices.SortFunc(entries, byPosition)
	}
	return entries, end, nil
}

// withEnd runs a query whose rows begin with the end of the log. It calls each with the remaining columns, except for a
// row that has only the end.
func (l *Log) withEnd(
	ctx context.Context, c *pgconn.PgConn, q *query, params [][]byte, each func(row [][]byte) error,
) (end log.End, err error) {
	found := false
	err = l.rows(ctx, c, q, params, func(row [][]byte) error {
		if !found {
			end, found = endOf(row), true
		}
		if row[endColumns] == nil {
			return nil
		}
		return each(row[endColumns:])
	})
	if err == nil && !found {
		err = errNoHead
	}
	return end, err
}

// Values implements [log.Log].
func (l *Log) Values(ctx context.Context, positions []log.Position) (log.Values, error) {
	v := log.NewValues(len(positions))
	for first := 0; first == 0 || first < len(positions); first += valuesBatch {
		last := min(first+valuesBatch, len(positions))
		params := [][]byte{int8Array(positions[first:last])}
		read := func(ctx context.Context, c *pgconn.PgConn, _ log.Position) (log.End, error) {
			clear(v.Values[first:last])
			clear(v.IDs[first:last])
			clear(v.Checksums[first:last])
			clear(v.Found[first:last])
			return l.withEnd(ctx, c, &l.sql.values, params, func(row [][]byte) error {
				i := first + int(int64Of(row[0])) - 1
				v.Values[i], v.Found[i] = slices.Clone(row[2]), true
				v.IDs[i], v.Checksums[i] = log.AppendID(int64Of(row[1])), checksumOf(row[3])
				return nil
			})
		}
		var err error
		if v.End, err = l.snapshot(ctx, "values", l.others, read); err != nil {
			return log.Values{}, err
		}
	}
	return v, nil
}

// Scan implements [log.Log]. It streams the rows in a transaction, so that they share a snapshot with the end.
func (l *Log) Scan(ctx context.Context, after log.Position, fn func([]log.Entry) error) (log.End, error) {
	read := func(ctx context.Context, c *pgconn.PgConn, reported log.Position) (log.End, error) {
		called := false
		end, err := l.scan(ctx, c, after, reported, func(batch []log.Entry) error {
			called = true
			if err := ctx.Err(); err != nil {
				return err
			}
			return fn(batch)
		})
		if err != nil && called { // a retry would pass rows to fn twice
			err = &stopped{err}
		}
		return end, err
	}
	return l.snapshot(ctx, "scan", l.others, read)
}

// scan calls fn with the entries of one snapshot. It calls fn for none if the end of the log is before reported.
func (l *Log) scan(
	ctx context.Context, c *pgconn.PgConn, after, reported log.Position, fn func([]log.Entry) error,
) (log.End, error) {
	begin := `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`
	if l.pooled.Load() {
		begin += "; " + transactionSQL
	}
	if _, err := c.Exec(ctx, begin).ReadAll(); err != nil {
		return log.End{}, err
	}
	var end log.End
	found := false
	err := l.rows(ctx, c, &l.sql.scanEnd, nil, func(row [][]byte) error {
		end, found = endOf(row), true
		return nil
	})
	switch {
	case err != nil:
		return end, err
	case !found:
		return end, errNoHead
	case end.Position < reported:
		_, err := c.Exec(ctx, `ROLLBACK`).ReadAll()
		return end, err
	}
	batch := make([]log.Entry, 0, scanBatch)
	err = l.rows(ctx, c, &l.sql.scan, int8Params(int64(after)), func(row [][]byte) error {
		e := entryOf(row)
		e.Value = slices.Clone(row[11])
		e.ValueSize = int(binary.BigEndian.Uint32(row[12]))
		batch = append(batch, e)
		if len(batch) < scanBatch {
			return nil
		}
		err := fn(batch)
		batch = batch[:0]
		return err
	})
	if err == nil && len(batch) > 0 {
		err = fn(batch)
	}
	if err != nil {
		return end, err
	}
	_, err = c.Exec(ctx, `COMMIT`).ReadAll()
	return end, err
}
