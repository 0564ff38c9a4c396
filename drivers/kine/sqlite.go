package kine

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"

	_ "modernc.org/sqlite" // the driver of database/sql

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/sqlite"
)

// openSQLite opens a file that must be there. It is opened for writing because the recovery of a write-ahead log that a crash has left writes, and then only read.
func (t *Table) openSQLite(dsn string) error {
	path, err := sqlite.Path(dsn)
	if err != nil {
		return connect.Configuration(err)
	}
	if _, err := os.Stat(path); err != nil {
		return connect.Configuration(fmt.Errorf("kine: %w", err))
	}
	file := url.URL{Scheme: "file", Path: path, RawQuery: "mode=rw&_pragma=busy_timeout(10000)&_pragma=query_only(1)"}
	if t.db, err = sql.Open("sqlite", file.String()); err != nil {
		return fmt.Errorf("kine: open %s: %w", path, err)
	}
	t.parameter, t.begin = "?", []string{"BEGIN"}
	return nil
}
