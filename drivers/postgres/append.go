package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/logstructured/log"
)

// Append implements [log.Log].
func (l *Log) Append(ctx context.Context, head log.Head, id log.AppendID, entries []log.Entry) error {
	err := l.calls.Run(ctx, func(ctx context.Context) error {
		w, unlock, err := l.lockWriter(ctx)
		if err != nil {
			return err
		}
		defer unlock()
		log.Seal(head, id, entries)
		params, err := w.encode(ctx, head, id, entries, !l.alone())
		if err != nil {
			return err
		}
		var at int64
		matched, err := l.commit(ctx, w, &l.sql.append, params, func(row [][]byte) { at = int64Of(row[0]) })
		if cap(w.buf) > keepBuffer {
			w.buf = nil
		}
		switch {
		case errors.Is(err, errUndecided):
			return fmt.Errorf("%w: %w", log.ErrUnknown, err)
		case err != nil:
			return err
		case !matched:
			return fmt.Errorf("%w: it is not %v", log.ErrConflict, head)
		}
		log.Stamp(entries, log.Timestamp(at))
		return nil
	})
	if err == nil {
		l.report(entries[len(entries)-1].Position)
	}
	return translate("append", err)
}

// Confirm implements [log.Log].
func (l *Log) Confirm(ctx context.Context, head log.Head) error {
	return translate("confirm", l.calls.Run(ctx, func(ctx context.Context) error {
		w, unlock, err := l.lockWriter(ctx)
		if err != nil {
			return err
		}
		defer unlock()
		matched, err := l.commit(ctx, w, &l.sql.confirm, int8Params(int64(head.Position), int64(head.ID)), nil)
		if err == nil && !matched {
			err = fmt.Errorf("%w: %v is not there", log.ErrConflict, head)
		}
		return err
	}))
}

// errUndecided reports that the server did not confirm the outcome of a statement.
var errUndecided = errors.New("the outcome of the statement is not known")

// commit runs a statement that writes in a transaction of its own, and reports whether it returned a row. The error
// wraps errUndecided unless the statement certainly has no effect, now or later.
func (l *Log) commit(
	ctx context.Context, w *writer, q *query, params [][]byte, each func(row [][]byte),
) (matched bool, err error) {
	for race := 0; ; race++ {
		matched, err = l.commitOnce(ctx, w, q, params, each)
		if err == nil || !lostRace(err) || race == maxRaces {
			return matched, err
		}
		if err := connect.Pause(ctx, time.Duration(race)*time.Millisecond); err != nil {
			return false, err
		}
	}
}

func (l *Log) commitOnce(
	ctx context.Context, w *writer, q *query, params [][]byte, each func(row [][]byte),
) (bool, error) {
	forgetNotice(w.pg)
	result, err := l.exec(ctx, w.pg, q, params)
	if err != nil {
		l.giveUp(err) // nothing of q was sent
		return false, err
	}
	matched := false
	for result.NextRow() {
		matched = true
		if each != nil {
			each(result.Values())
		}
	}
	_, err = result.Close()
	if err == nil && !warned(w.pg) {
		if ctx.Err() != nil {
			l.dropWriter() // a pending cancellation must not hit the next statement
		}
		return matched, nil
	}
	definite := err != nil && (rolledBack(err) || w.wire.failed.Load() || pgconn.SafeToRetry(err))
	if err == nil {
		err = errWaitCanceled
	}
	if ctx.Err() != nil || errors.Is(err, errWaitCanceled) {
		l.pass(w)
	} else {
		l.giveUp(err)
	}
	if definite {
		return false, err
	}
	l.dropWriter() // the next statement must not run while this one may still be running there
	return false, fmt.Errorf("%w: %w", errUndecided, err)
}

// pass moves on to the next server after this one accepted a statement and did not finish it in time. This server may
// be overloaded, or the statement (or a concurrent append) may be waiting for a standby that does not answer because it
// has become the primary. The caller holds the token.
func (l *Log) pass(w *writer) {
	if l.several {
		l.hosts.pass(w.pg)
		l.reconnect()
	}
	l.dropWriter()
}

// giveUp drops the connection if err shows that it is broken or leads to the wrong server. It then also drops all other
// connections, because the next writer may connect to another server, and reads must not lag behind the appends there.
// The caller holds the token.
func (l *Log) giveUp(err error) {
	if staleConnection(err) {
		l.dropWriter()
		l.reconnect()
	}
}

// encode encodes the parameters of an append; notify makes the append notify other replicas. All arrays share one
// buffer: the fixed-width ones first, then the keys and values.
func (w *writer) encode(
	ctx context.Context, head log.Head, id log.AppendID, entries []log.Entry, notify bool,
) ([][]byte, error) {
	const (
		scalars     = 4
		int8Columns = 6 // revision, sub, create_revision, version, lease, checksum
		kindElement = 4 + 2
	)
	n := len(entries)
	kinds := arrayHeader + kindElement*n
	int8s := arrayHeader + int8Element*n
	keys, values := arrayHeader+4*n, arrayHeader+4*n
	for i := range entries {
		keys += len(entries[i].Key)
		values += len(entries[i].Value)
	}
	size := 8*scalars + kinds + int8Columns*int8s + keys + values
	if size > maxAppendBytes {
		return nil, fmt.Errorf("%w: %d MiB in %d entries, and PostgreSQL takes 1 GiB at once",
			log.ErrTooLarge, size>>20, n)
	}
	if cap(w.buf) < size {
		w.buf = make([]byte, size)
	}
	rest := w.buf[:size]
	take := func(n int) []byte {
		b := rest[:n:n]
		rest = rest[n:]
		return b
	}
	params := make([][]byte, 0, 14)
	for _, v := range [scalars]int64{int64(head.Position), int64(head.ID), int64(n), int64(id)} {
		b := take(8)
		binary.BigEndian.PutUint64(b, uint64(v))
		params = append(params, b)
	}
	kind := take(kinds)
	putArrayHeader(kind, pgtype.Int2OID, n)
	var int8Arrays [int8Columns][]byte
	for i := range int8Arrays {
		int8Arrays[i] = take(int8s)
		putArrayHeader(int8Arrays[i], pgtype.Int8OID, n)
	}
	key, value := take(keys), take(values)
	putArrayHeader(key, pgtype.ByteaOID, n)
	putArrayHeader(value, pgtype.ByteaOID, n)
	nextKey, nextValue := arrayHeader, arrayHeader
	for i := range entries {
		if i%4096 == 4095 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		e := &entries[i]
		at := arrayHeader + kindElement*i
		binary.BigEndian.PutUint32(kind[at:], 2)
		binary.BigEndian.PutUint16(kind[at+4:], uint16(e.Kind))
		at = arrayHeader + int8Element*i
		putInt8Element(int8Arrays[0][at:], int64(e.Revision))
		putInt8Element(int8Arrays[1][at:], e.Sub)
		putInt8Element(int8Arrays[2][at:], int64(e.CreateRevision))
		putInt8Element(int8Arrays[3][at:], e.Version)
		putInt8Element(int8Arrays[4][at:], int64(e.Lease))
		putInt8Element(int8Arrays[5][at:], int64(e.Checksum))
		nextKey = putBytesElement(key, nextKey, e.Key)
		nextValue = putBytesElement(value, nextValue, e.Value)
	}
	return append(params, kind, int8Arrays[0], int8Arrays[1], key, int8Arrays[2], int8Arrays[3], int8Arrays[4], value,
		boolParams[notify], int8Arrays[5]), nil
}

var boolParams = map[bool][]byte{false: {0}, true: {1}}

// putBytesElement writes an element of a bytea array at b[at:] and returns the offset of the next element.
func putBytesElement(b []byte, at int, v []byte) int {
	binary.BigEndian.PutUint32(b[at:], uint32(len(v)))
	return at + 4 + copy(b[at+4:], v)
}
