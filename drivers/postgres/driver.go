package postgres

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/stele-db/stele/drivers/internal/driver"
	"github.com/stele-db/stele/logstructured/log"
)

// Driver is the driver for PostgreSQL.
var Driver = driver.Driver{
	Schemes: []string{"postgres", "postgresql"},
	Form:    "postgres://USER:PASSWORD@HOST:PORT/DATABASE",
	Remote:  true,
	Open: func(ctx context.Context, dsn string, opts driver.Options) (log.Log, error) {
		return driver.Logged(Open(ctx, dsn, opts))
	},
	Schema:    Schema,
	Describe:  describe,
	OpenTable: openTable,
}

// describe returns the location of the data of a DSN.
func describe(dsn string) (string, error) {
	cfg, err := parseDSN(dsn)
	if err != nil {
		return "", err
	}
	c := cfg.pool.ConnConfig
	hosts := []string{hostPort(c.Host, c.Port)}
	for _, fallback := range c.Fallbacks { // the other hosts, and each host once more with another kind of TLS
		if host := hostPort(fallback.Host, fallback.Port); !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return driver.Server("postgres", hosts, c.Database, cfg.prefix), nil
}

// hostPort returns host:port, or the directory of a Unix socket.
func hostPort(host string, port uint16) string {
	if strings.HasPrefix(host, "/") {
		return host
	}
	return net.JoinHostPort(host, fmt.Sprint(port))
}

// openTable opens the database for reading a table. It sets no client_encoding, so that the server returns bytes
// without converting them.
func openTable(dsn string, opts driver.Options) (driver.Table, error) {
	cfg, err := newConfig(dsn, opts.Options)
	if err != nil {
		return driver.Table{}, err
	}
	c := cfg.pool.ConnConfig
	if cfg.pooler {
		// Prepared statements belong to a connection, and a pooler may change it between transactions.
		c.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	begin := []string{"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"}
	return driver.Table{DB: stdlib.OpenDB(*c), Begin: begin, Parameter: "$1", Text: ServerText}, nil
}
