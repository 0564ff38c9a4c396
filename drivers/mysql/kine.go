package mysql

import (
	"context"
	"database/sql"
	"errors"

	"github.com/stele-db/stele/drivers/connect"
)

// refuseKine returns an error if there is a table named kine and the table of the log is missing or empty.
func refuseKine(ctx context.Context, db *sql.Conn, cfg *config) error {
	entries, err := look(ctx, db, cfg.sql(`SELECT 1 FROM {prefix}_log LIMIT 1`))
	if err != nil || entries == found {
		return err
	}
	kine, err := look(ctx, db, `SELECT 1 FROM kine LIMIT 1`)
	if err == nil && kine != missing {
		err = connect.ErrKine
	}
	return err
}

// presence reports whether a table exists and has rows.
type presence uint8

const (
	missing presence = iota
	// empty includes a table that the user may not read.
	empty
	found
)

func look(ctx context.Context, db *sql.Conn, query string) (presence, error) {
	var one int
	err := db.QueryRowContext(ctx, query).Scan(&one)
	switch {
	case err == nil:
		return found, nil
	case errors.Is(err, sql.ErrNoRows), isNumber(err, errTableDenied):
		return empty, nil
	case isNumber(err, errNoSuchTable):
		return missing, nil
	}
	return empty, err
}
