package mysql

import "database/sql"

// Database returns the database of a DSN, for reading what is not a log. Its sessions convert neither names nor values. Nothing is asked of it yet.
func Database(dsn string, opts Options) (*sql.DB, error) {
	cfg, err := parseDSN(dsn)
	if err == nil {
		err = cfg.apply(opts.Options)
	}
	if err != nil {
		return nil, err
	}
	server, err := newConnector(cfg, opts.Logger, syncReads)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(server), nil
}
