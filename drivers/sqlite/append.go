package sqlite

import (
	"context"
	"errors"
	"fmt"
	"strings"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/stele-db/stele/drivers/internal/lifetime"
	"github.com/stele-db/stele/logstructured/log"
)

// writer is the connection for writing with its statements.
type writer struct {
	c                       *conn
	begin, commit, rollback *stmt
	guard, touch            *stmt
	inserts                 []insert // the largest first
	deleteRow, raiseFloor   *stmt
	standing                *stmt
}

// insert is a prepared INSERT of a number of rows.
type insert struct {
	rows int
	*stmt
}

// The rows of the prepared INSERTs.
var insertRows = []int{64, 8, 1}

func newWriter(c *conn) (*writer, error) {
	w := &writer{c: c}
	var err error
	for _, s := range []struct {
		stmt **stmt
		sql  string
	}{
		{&w.begin, `BEGIN IMMEDIATE`},
		{&w.commit, `COMMIT`},
		{&w.rollback, `ROLLBACK`},
		{&w.guard, endSQL},
		{&w.touch, `UPDATE stele_store SET settled = settled + 1`},
		{&w.raiseFloor, `UPDATE stele_store SET floor = ?1 WHERE floor < ?1`},
		{&w.deleteRow, `DELETE FROM stele_log WHERE position = ?`},
		{&w.standing, `SELECT 1 FROM stele_log WHERE position = ? AND id = ?`},
	} {
		if *s.stmt, err = c.prepare(s.sql); err != nil {
			return nil, err
		}
	}
	for _, rows := range insertRows {
		s, err := c.prepare(insertSQL(rows))
		if err != nil {
			return nil, err
		}
		w.inserts = append(w.inserts, insert{rows, s})
	}
	return w, nil
}

func (w *writer) close() error { return w.c.close() }

// insertSQL inserts rows with consecutive positions. Parameters: ?1 the first position, ?2 id, ?3 time, then
// insertColumns for each row.
func insertSQL(rows int) string {
	var b strings.Builder
	b.WriteString(`INSERT INTO stele_log (position, id, time, kind, revision, sub, key, create_revision, version, lease, checksum, value) VALUES `)
	for i := range rows {
		if i > 0 {
			b.WriteString(", ")
		}
		p := insertFixed + insertColumns*i
		fmt.Fprintf(&b, "(?1 + %d, ?2, ?3, ?%d, ?%d, ?%d, ?%d, ?%d, ?%d, ?%d, ?%d, ?%d)", i, p+1, p+2, p+3, p+4, p+5, p+6, p+7, p+8, p+9)
	}
	return b.String()
}

const (
	insertFixed   = 3
	insertColumns = 9
)

// lockWriter takes the writing connection, opening it again if it was given up.
func (l *Log) lockWriter(ctx context.Context) (*writer, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.closed:
		return nil, lifetime.ErrClosed
	case <-l.writing:
	}
	if err := l.live(ctx); err != nil {
		l.writing <- struct{}{}
		return nil, err
	}
	if l.writer != nil {
		return l.writer, nil
	}
	if err := retryBusy(ctx, l.cfg.busyTimeout, func() error { return l.initialize(false) }); err != nil {
		l.writing <- struct{}{}
		return nil, err
	}
	return l.writer, nil
}

// unlockWriter gives the connection back. It never leaves a transaction open.
func (l *Log) unlockWriter() {
	if w := l.writer; w.c.inTransaction() {
		if err := w.rollback.run(); err != nil || w.c.inTransaction() {
			_ = w.close() // rolls back
			l.writer = nil
		}
	}
	l.writing <- struct{}{}
}

// Append implements [log.Log].
func (l *Log) Append(ctx context.Context, head log.Head, id log.AppendID, entries []log.Entry) error {
	w, err := l.lockWriter(ctx)
	if err != nil {
		return l.translate("append", err)
	}
	defer l.unlockWriter()
	if err := retryBusy(ctx, l.cfg.busyTimeout, w.begin.run); err != nil {
		return l.translate("append", err)
	}
	if err := w.check(head); err != nil {
		return l.translate("append", err)
	}
	if index, err := w.c.walIndex(); err == nil {
		if err := l.walComplete(index); err != nil {
			return l.damaged(err)
		}
	}
	at := now() // under the write lock: later appends are not earlier, unless the clock is set back
	log.Seal(head, id, entries)
	for i := range entries {
		entries[i].Time = at
		entries[i].Checksum = entries[i].Checksum.At(at)
	}
	if err := l.insert(ctx, w, entries); err != nil {
		return l.translate("append", err)
	}
	if err := w.commit.run(); err != nil {
		return l.commitFailed(w, head, err)
	}
	l.dirty.Store(true)
	// The WAL was looked at before: the database file alone is enough here.
	if w.c.moved() {
		if err := l.inPlace(); err != nil {
			return fmt.Errorf("%w (%w)", err, log.ErrUnknown)
		}
	}
	return nil
}

// check compares the end of the log with head.
func (w *writer) check(head log.Head) error {
	end, err := w.end()
	if err == nil && end != head {
		err = fmt.Errorf("%w: it is %v, not %v", log.ErrConflict, end, head)
	}
	return err
}

// end reads the head in the write transaction.
func (w *writer) end() (log.Head, error) {
	row, err := w.guard.step()
	if err != nil {
		return log.Head{}, err
	}
	if !row {
		return log.Head{}, errNoStore
	}
	defer w.guard.reset()
	return log.Head{
		Position: log.Position(w.guard.int64(0)),
		ID:       log.AppendID(w.guard.int64(1)),
	}, nil
}

func (l *Log) insert(ctx context.Context, w *writer, entries []log.Entry) error {
	for _, ins := range w.inserts {
		for len(entries) >= ins.rows {
			if err := l.live(ctx); err != nil {
				return err
			}
			if err := w.insertBatch(ins, entries[:ins.rows]); err != nil {
				return err
			}
			entries = entries[ins.rows:]
		}
	}
	return nil
}

func (w *writer) insertBatch(ins insert, entries []log.Entry) error {
	size := 0
	for i := range entries {
		size += len(entries[i].Key) + len(entries[i].Value)
	}
	arena := &w.c.arena
	if err := arena.reserve(w.c.tls, size); err != nil {
		return err
	}
	ins.bindInt64(1, int64(entries[0].Position))
	ins.bindInt64(2, int64(entries[0].ID))
	ins.bindInt64(3, int64(entries[0].Time))
	p := insertFixed
	for i := range entries {
		e := &entries[i]
		ins.bindInt64(p+1, int64(e.Kind))
		ins.bindInt64(p+2, int64(e.Revision))
		ins.bindInt64(p+3, e.Sub)
		ins.bindBlob(p+4, arena.put(e.Key))
		ins.bindInt64(p+5, int64(e.CreateRevision))
		ins.bindInt64(p+6, e.Version)
		ins.bindInt64(p+7, int64(e.Lease))
		ins.bindInt64(p+8, int64(e.Checksum))
		ins.bindBlob(p+9, arena.put(e.Value))
		p += insertColumns
	}
	return ins.run()
}

// commitFailed tells what became of an append whose COMMIT returned err: see the package's documentation.
func (l *Log) commitFailed(w *writer, head log.Head, err error) error {
	if isBusy(err) {
		return l.translate("commit", err) // the transaction is still open; unlockWriter rolls it back
	}
	var e *Error
	if errors.As(err, &e) && (e.primary() == sqlite3.SQLITE_FULL || e.Code == sqlite3.SQLITE_IOERR_WRITE) {
		return l.translate("commit", err)
	}
	if errors.Is(sentinelOf(err), log.ErrSyncFailed) {
		return fmt.Errorf("%w (%w)", l.translate("commit", err), log.ErrUnknown)
	}
	if settleErr := w.settle(head); settleErr != nil {
		_ = l.inspectFailure(settleErr)
		failure := failed("commit", fmt.Errorf("%w (and then: %w)", err, settleErr))
		failure.Sentinel = log.ErrUnknown
		return failure
	}
	return l.translate("commit", err)
}

// settle makes sure that an append after head whose COMMIT failed does not come back to life.
func (w *writer) settle(head log.Head) error {
	if w.c.inTransaction() {
		if err := w.rollback.run(); err != nil {
			return err
		}
	}
	if err := w.begin.run(); err != nil {
		return err
	}
	if err := w.check(head); err != nil {
		return err
	}
	if err := w.touch.run(); err != nil {
		return err
	}
	return w.commit.run()
}

// Confirm implements [log.Log].
func (l *Log) Confirm(ctx context.Context, head log.Head) error {
	if err := l.write(ctx, func(w *writer) error {
		if err := w.stands(head); err != nil {
			return err
		}
		return w.touch.run()
	}); err != nil {
		return l.translate("confirm", err)
	}
	return l.inPlace()
}

// stands returns ErrConflict unless the entry that head names is in the log. The zero head always is.
func (w *writer) stands(head log.Head) error {
	if head == (log.Head{}) {
		return nil
	}
	w.standing.bindInt64(1, int64(head.Position))
	w.standing.bindInt64(2, int64(head.ID))
	row, err := w.standing.step()
	if err != nil {
		return err
	}
	if !row {
		return fmt.Errorf("%w: %v is not there", log.ErrConflict, head)
	}
	w.standing.reset()
	return nil
}
