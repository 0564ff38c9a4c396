package sqlite

import (
	"errors"
	"fmt"
	"strings"

	"github.com/stele-db/stele/logstructured/log"
)

// writer is the connection for writing with its prepared statements.
type writer struct {
	c                       *conn
	begin, commit, rollback *stmt
	readEnd, touch          *stmt
	inserts                 []insert // in descending order of size
	deleteRow, raiseFloor   *stmt
	entryAt                 *stmt
}

// insert is a prepared INSERT of a number of rows.
type insert struct {
	rows int
	*stmt
}

// insertRows are the sizes of the prepared INSERTs.
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
		{&w.readEnd, endSQL},
		{&w.touch, `UPDATE stele_store SET settled = settled + 1`},
		{&w.raiseFloor, `UPDATE stele_store SET floor = ?1 WHERE floor < ?1`},
		{&w.deleteRow, `DELETE FROM stele_log WHERE position = ?`},
		{&w.entryAt, `SELECT 1 FROM stele_log WHERE position = ? AND id = ?`},
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

// insertSQL returns an INSERT of rows with consecutive positions. Its parameters are ?1 the first position, ?2 id, ?3
// time, and then insertColumns for each row.
func insertSQL(rows int) string {
	var b strings.Builder
	b.WriteString(`INSERT INTO stele_log (` + rowSQL + `, value) VALUES `)
	for i := range rows {
		if i > 0 {
			b.WriteString(", ")
		}
		p := insertFixed + insertColumns*i
		fmt.Fprintf(&b, "(?1 + %d, ?2, ?3", i)
		for column := range insertColumns {
			fmt.Fprintf(&b, ", ?%d", p+1+column)
		}
		b.WriteString(")")
	}
	return b.String()
}

const (
	insertFixed   = 3
	insertColumns = 9
)

// checkHead returns ErrConflict if the head of the log is not head.
func (w *writer) checkHead(head log.Head) error {
	end, err := w.end()
	if err == nil && end != head {
		err = fmt.Errorf("%w: it is %v, not %v", log.ErrConflict, end, head)
	}
	return err
}

// end reads the head of the log in the write transaction.
func (w *writer) end() (log.Head, error) {
	row, err := w.readEnd.step()
	if err != nil {
		return log.Head{}, err
	}
	if !row {
		return log.Head{}, errNoStore
	}
	defer w.readEnd.reset()
	return log.Head{
		Position: log.Position(w.readEnd.int64(0)),
		ID:       log.AppendID(w.readEnd.int64(1)),
	}, nil
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

// settle ensures that an append after head, whose COMMIT failed, does not reappear after a crash.
func (w *writer) settle(head log.Head) error {
	if w.c.inTransaction() {
		if err := w.rollback.run(); err != nil {
			return err
		}
	}
	if err := w.begin.run(); err != nil {
		return err
	}
	if err := w.checkHead(head); err != nil {
		return err
	}
	if err := w.touch.run(); err != nil {
		return err
	}
	return w.commit.run()
}

// checkEntry returns ErrConflict if the log does not contain the entry that head names. The zero head is in every log.
func (w *writer) checkEntry(head log.Head) error {
	if head == (log.Head{}) {
		return nil
	}
	w.entryAt.bindInt64(1, int64(head.Position))
	w.entryAt.bindInt64(2, int64(head.ID))
	row, err := w.entryAt.step()
	if err != nil {
		return err
	}
	if !row {
		return fmt.Errorf("%w: %v is not there", log.ErrConflict, head)
	}
	w.entryAt.reset()
	return nil
}

// rowSQL are the columns of an entry without its value, in the order of [stmt.entry].
const rowSQL = `position, id, time, kind, revision, sub, key, create_revision, version, lease, checksum`

// endSQL reads the end of the log. The newest row is at the right edge of the table, and its value is not read. Two
// subqueries are cheaper than a join. The clock is not read in SQL, where it would take a third of the query's time.
const endSQL = `SELECT
	(SELECT position FROM stele_log ORDER BY position DESC LIMIT 1),
	(SELECT id FROM stele_log ORDER BY position DESC LIMIT 1),
	floor, cluster_id, deleted FROM stele_store`

// errNoStore reports that the row with the store's identity is missing.
var errNoStore = errors.Join(log.ErrCorrupt, errors.New("table stele_store is empty"))
