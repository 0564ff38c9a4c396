package kine

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/stele-db/stele/logstructured/log"
	"github.com/stele-db/stele/transfer/importer"
)

// The bounds of a page, which is read into memory at once.
const (
	pageRows  = 2000
	pageBytes = 4 << 20
)

// rowsSQL omits old_value, which is the value of another row or of a compacted one.
const rowsSQL = `SELECT id, name, created, deleted, create_revision, prev_revision, lease, value
FROM {table} WHERE id > ? ORDER BY id LIMIT 2000`

// Read implements [importer.History]. fn may keep the keys and values.
func (t *Table) Read(ctx context.Context, fn func(log.Entry) error) (*importer.Contents, error) {
	conn, err := t.db.Conn(ctx)
	if err != nil {
		return nil, t.failed("connect", err)
	}
	defer func() {
		// Close the connection in any state, which ends the transaction.
		_ = conn.Raw(func(any) error { return driver.ErrBadConn })
		_ = conn.Close()
	}()
	for _, statement := range t.db.Begin {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return nil, t.failed("begin to read", err)
		}
	}
	outline, _, err := t.survey(ctx, conn)
	if err != nil {
		return nil, err
	}
	h := newHistory()
	for after, more := int64(0), true; more; {
		var page []row
		if page, more, err = t.page(ctx, conn, after); err != nil {
			return nil, t.failed(fmt.Sprintf("read the rows after id %d", after), err)
		}
		for i := range page {
			after = page[i].id
			if e, ok := h.next(&page[i]); ok {
				if err := fn(e); err != nil {
					return nil, err
				}
			}
		}
	}
	return h.contents(outline), nil
}

// page reads the rows after an id.
func (t *Table) page(ctx context.Context, conn *sql.Conn, after int64) (page []row, more bool, err error) {
	rows, err := conn.QueryContext(ctx, t.sql(rowsSQL), after)
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	size := 0
	for rows.Next() {
		var r row
		var created, deleted, create, previous, lease sql.NullInt64
		if err := rows.Scan(&r.id, &r.name, &created, &deleted, &create, &previous, &lease, &r.value); err != nil {
			return nil, false, err
		}
		r.created, r.deleted = created.Int64 != 0, deleted.Int64 != 0
		r.create, r.previous, r.lease = create.Int64, previous.Int64, lease.Int64
		page = append(page, r)
		if size += len(r.name) + len(r.value); size >= pageBytes {
			return page, true, nil
		}
	}
	return page, len(page) == pageRows, rows.Err()
}
