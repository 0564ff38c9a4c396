package postgres

import (
	"database/sql"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/stele-db/stele/drivers/connect"
)

// Database returns the database of a DSN, for reading what is not a log. Nothing is asked of it yet.
func Database(dsn string, opts connect.Options) (*sql.DB, error) {
	cfg, err := parseDSN(dsn)
	if err == nil {
		err = cfg.apply(opts)
	}
	if err != nil {
		return nil, err
	}
	c := cfg.pool.ConnConfig
	if cfg.pooler {
		c.DefaultQueryExecMode = pgx.QueryExecModeExec // prepared statements belong to a connection, and a pooler changes it
	}
	return stdlib.OpenDB(*c), nil
}
