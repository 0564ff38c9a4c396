package sqlite

import (
	"slices"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// class is a pool of connections for calls of one kind.
type class chan *reader

func newClass(n int) class {
	c := make(class, n)
	for range n {
		c <- nil
	}
	return c
}

// reader is a connection for reading with its prepared statements.
type reader struct {
	c                   *conn
	begin, commit       *stmt
	end, read, scanRows *stmt
	value               *stmt
}

// newReader prepares the statements on a connection.
func newReader(c *conn) (*reader, error) {
	r := &reader{c: c}
	var err error
	for _, s := range []struct {
		stmt **stmt
		sql  string
	}{
		{&r.begin, `BEGIN`},
		{&r.commit, `COMMIT`},
		{&r.end, endSQL},
		{&r.read, `SELECT ` + rowSQL + `, value
			FROM stele_log WHERE position > ? ORDER BY position LIMIT ?`},
		// A scan does not read the value of a put: the row's header contains its length.
		{&r.scanRows, `SELECT ` + rowSQL + `,
			CASE kind WHEN 1 THEN NULL ELSE value END, length(value)
			FROM stele_log WHERE position > ? ORDER BY position`},
		{&r.value, `SELECT value, id, checksum FROM stele_log WHERE position = ?`},
	} {
		if *s.stmt, err = c.prepare(s.sql); err != nil {
			return nil, err
		}
	}
	return r, nil
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

// entry returns the entry of a row without its value.
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

// now is the database's clock. SQLite has only the machine's clock, which all processes that share the file use.
func now() log.Timestamp { return log.Timestamp(time.Now().UnixMilli()) }
