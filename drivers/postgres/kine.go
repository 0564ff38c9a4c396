package postgres

import (
	"context"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/internal/migrations"
)

// refuseKine returns an error if there is a table named kine and the table of the log is missing or empty.
func refuseKine(ctx context.Context, c *pgconn.PgConn, prefix string) error {
	rows, there, err := look(ctx, c, migrations.WithPrefix(`SELECT 1 FROM {prefix}_log LIMIT 1`, prefix))
	if err != nil || there && rows > 0 {
		return err
	}
	if _, there, err = look(ctx, c, `SELECT 1 FROM kine LIMIT 1`); err == nil && there {
		err = connect.ErrKine
	}
	return err
}

// look counts the rows of a query, and reports whether its table exists. A table that the user may not read counts as
// existing and empty.
func look(ctx context.Context, c *pgconn.PgConn, sql string) (rows int, there bool, err error) {
	result := c.ExecParams(ctx, sql, nil, nil, nil, nil)
	for result.NextRow() {
		rows++
	}
	_, err = result.Close()
	switch code(err) {
	case pgerrcode.UndefinedTable, pgerrcode.InvalidSchemaName:
		return 0, false, nil
	case pgerrcode.InsufficientPrivilege:
		return 0, true, nil
	}
	return rows, true, err
}
