package postgres

import (
	"context"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stele-db/stele/drivers/connect"
)

// probe runs a query that returns at most one row of a table.
func probe(ctx context.Context, c *pgconn.PgConn, query string) (connect.Presence, error) {
	result := c.ExecParams(ctx, query, nil, nil, nil, nil)
	found := connect.Empty
	for result.NextRow() {
		found = connect.Filled
	}
	_, err := result.Close()
	switch code(err) {
	case pgerrcode.UndefinedTable, pgerrcode.InvalidSchemaName:
		return connect.Missing, nil
	case pgerrcode.InsufficientPrivilege:
		return connect.Empty, nil
	}
	return found, err
}
