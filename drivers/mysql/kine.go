package mysql

import (
	"context"
	"database/sql"
	"errors"

	"github.com/stele-db/stele/drivers/connect"
)

// probe runs a query that returns at most one row of a table.
func probe(ctx context.Context, db *sql.Conn, query string) (connect.Presence, error) {
	var one int
	err := db.QueryRowContext(ctx, query).Scan(&one)
	switch {
	case err == nil:
		return connect.Filled, nil
	case errors.Is(err, sql.ErrNoRows), isNumber(err, errTableDenied):
		return connect.Empty, nil
	case isNumber(err, errNoSuchTable):
		return connect.Missing, nil
	}
	return connect.Empty, err
}
