package kine

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"

	_ "modernc.org/sqlite" // registers the database/sql driver of SQLite files

	"github.com/stele-db/stele/drivers"
	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/transfer/importer"
)

// DefaultTable is kine's name of its table.
const DefaultTable = "kine"

// Options configure the reading of a table in addition to its DSN.
type Options struct {
	drivers.Options
	// Table is the table's name; empty means [DefaultTable].
	Table string
}

// ErrNotKine means that the database has no such table, or that it is not kine's.
var ErrNotKine = errors.New("not a table of kine")

// Table is kine's table, opened for reading. It implements [importer.History].
type Table struct {
	db   drivers.Table
	name string
	// location describes the database for operators.
	location string
}

// failed returns err as one line that begins with the cause.
func (t *Table) failed(op string, err error) error {
	return &connect.Failure{Operation: "kine: " + op, Err: err, Server: t.db.Text}
}

// validTable matches names that need no quotes in any of the databases, optionally qualified by a schema or database.
var validTable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$`)

// Open opens the table in the database at dsn, in one of the forms of [drivers.Open], and checks that it is kine's. It
// creates and changes nothing.
func Open(ctx context.Context, dsn string, opts Options) (t *Table, err error) {
	t = &Table{name: cmp.Or(opts.Table, DefaultTable), location: drivers.Describe(dsn)}
	if !validTable.MatchString(t.name) {
		return nil, connect.Configuration(fmt.Errorf("kine: table %q: its name must match %s", t.name, validTable))
	}
	if t.db, err = drivers.OpenTable(dsn, opts.Options); err != nil {
		return nil, err
	}
	if err := t.identify(ctx); err != nil {
		return nil, errors.Join(err, t.db.Close())
	}
	return t, nil
}

// Close releases the database.
func (t *Table) Close() error { return t.db.Close() }

// sql inserts the table's name, which was validated, and this database's parameter placeholder into a statement.
func (t *Table) sql(statement string) string {
	return strings.NewReplacer("{table}", t.name, "?", t.db.Parameter).Replace(statement)
}

// columnsSQL fails unless the table has all columns of kine's table.
const columnsSQL = `SELECT id, name, created, deleted, create_revision, prev_revision, lease, value, old_value
FROM {table} WHERE id = -1`

// identify returns an error unless the table is kine's: it must have the columns, and the row that kine creates first.
func (t *Table) identify(ctx context.Context) error {
	if _, err := t.db.ExecContext(ctx, t.sql(columnsSQL)); err != nil {
		if ping := t.db.PingContext(ctx); ping != nil {
			return t.failed("connect", ping)
		}
		return fmt.Errorf("%w: %w", ErrNotKine, t.failed("read the columns of "+t.name, err))
	}
	_, markers, err := t.survey(ctx, t.db)
	if err == nil && markers == 0 {
		err = fmt.Errorf("%w: %s has no row named %s, which kine makes first", ErrNotKine, t.name, compactKey)
	}
	return err
}

// surveySQL reads the whole primary key, which takes as long as counting the rows.
const surveySQL = `SELECT COUNT(*), COALESCE(MAX(id), 0),
  COALESCE((SELECT MAX(prev_revision) FROM {table} WHERE name = 'compact_rev_key'), 0),
  (SELECT COUNT(*) FROM {table} WHERE name = 'compact_rev_key')
FROM {table}`

// Name implements [importer.History].
func (t *Table) Name() string { return fmt.Sprintf("kine's table %s in %s", t.name, t.location) }

// Outline implements [importer.History]. The current revision is the highest id.
func (t *Table) Outline(ctx context.Context) (importer.Outline, error) {
	outline, _, err := t.survey(ctx, t.db)
	return outline, err
}

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// survey returns the outline of the table and the number of rows named compactKey.
func (t *Table) survey(ctx context.Context, q querier) (o importer.Outline, markers int, err error) {
	err = q.QueryRowContext(ctx, t.sql(surveySQL)).Scan(&o.Rows, &o.Revision, &o.CompactRevision, &markers)
	if err != nil {
		return o, 0, t.failed("survey "+t.name, err)
	}
	return o, markers, nil
}
