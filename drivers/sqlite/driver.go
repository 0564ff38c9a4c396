package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/internal/driver"
	"github.com/stele-db/stele/logstructured/log"
)

// Driver is the driver for SQLite files.
var Driver = driver.Driver{
	Schemes: []string{scheme, litestreamScheme},
	Form:    "sqlite://PATH",
	Open: func(ctx context.Context, dsn string, opts driver.Options) (log.Log, error) {
		l, err := driver.Logged(Open(ctx, dsn, Options{Logger: opts.Logger, BesideKine: opts.BesideKine}))
		return l, connect.Configuration(err)
	},
	Schema:    func(string) ([]string, error) { return Schema(), nil },
	Describe:  describe,
	File:      filePath,
	OpenTable: openTable,
}

// describe returns the absolute path of a DSN, whatever its options.
func describe(dsn string) (string, error) {
	path, _, _ := splitDSN(dsn)
	if absolute, err := filepath.Abs(path); err == nil {
		path = absolute
	}
	return path, nil
}

// filePath returns the absolute path of a valid DSN.
func filePath(dsn string) (string, error) {
	cfg, _, err := parseDSN(dsn)
	return cfg.path, err
}

// openTable opens an existing file for reading a table. The program must import modernc.org/sqlite, which registers
// itself with database/sql. (This package does not, because an embedding program may have registered another driver
// under that name.)
//
// The file is opened read-write, because recovering a write-ahead log after a crash writes; afterwards it is only read.
func openTable(dsn string, _ driver.Options) (driver.Table, error) {
	path, err := filePath(dsn)
	if err != nil {
		return driver.Table{}, err
	}
	if _, err := os.Stat(path); err != nil {
		return driver.Table{}, failed("open", err)
	}
	file := url.URL{Scheme: "file", Path: path, RawQuery: "mode=rw&_pragma=busy_timeout(10000)&_pragma=query_only(1)"}
	db, err := sql.Open("sqlite", file.String())
	if err != nil {
		return driver.Table{}, fmt.Errorf("sqlite: open %s: %w", path, err)
	}
	return driver.Table{DB: db, Begin: []string{"BEGIN"}, Parameter: "?", Text: noText}, nil
}

// noText leaves the errors of modernc.org/sqlite, which are one line each, unchanged.
func noText(error) (string, bool) { return "", false }
