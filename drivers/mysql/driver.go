package mysql

import (
	"context"
	"database/sql"

	"github.com/stele-db/stele/drivers/internal/driver"
	"github.com/stele-db/stele/logstructured/log"
)

// Driver is the driver for MySQL and the databases that speak its protocol.
var Driver = driver.Driver{
	Schemes: schemes,
	Form:    "mysql://USER:PASSWORD@tcp(HOST:PORT)/DATABASE",
	Remote:  true,
	Open: func(ctx context.Context, dsn string, opts driver.Options) (log.Log, error) {
		return driver.Logged(Open(ctx, dsn, opts))
	},
	Schema:    Schema,
	Describe:  describe,
	OpenTable: openTable,
}

// describe returns where the data of a DSN is.
func describe(dsn string) (string, error) {
	cfg, err := parseDSN(dsn)
	if err != nil {
		return "", err
	}
	hosts := make([]string, len(cfg.servers))
	for i, server := range cfg.servers {
		hosts[i] = server.Addr
	}
	return driver.Server("mysql", hosts, cfg.database, cfg.prefix), nil
}

// openTable opens the database for reading a table. Its sessions convert neither names nor values.
func openTable(dsn string, opts driver.Options) (driver.Table, error) {
	cfg, err := newConfig(dsn, opts.Options)
	if err != nil {
		return driver.Table{}, err
	}
	server, err := newConnector(cfg, opts.Logger, syncReads)
	if err != nil {
		return driver.Table{}, err
	}
	begin := []string{
		"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
		"START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
	}
	return driver.Table{DB: sql.OpenDB(server), Begin: begin, Parameter: "?", Text: ServerText}, nil
}
