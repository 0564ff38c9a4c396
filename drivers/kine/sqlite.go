package kine

import (
	"database/sql"
	"net/url"
	"os"

	_ "modernc.org/sqlite" // the driver of database/sql

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/sqlite"
)

// openSQLite opens a file that must be there. It is opened for writing because the recovery of a write-ahead log that a crash has left writes, and then only read.
func (t *Table) openSQLite(dsn string) error {
	t.server = func(error) (string, bool) { return "", false }
	path, err := sqlite.Path(dsn)
	if err != nil {
		return connect.Configuration(err)
	}
	if _, err := os.Stat(path); err != nil {
		return connect.Configuration(t.failed("open", err))
	}
	file := url.URL{Scheme: "file", Path: path, RawQuery: "mode=rw&_pragma=busy_timeout(10000)&_pragma=query_only(1)"}
	if t.db, err = sql.Open("sqlite", file.String()); err != nil {
		return t.failed("open "+path, err)
	}
	t.parameter, t.begin = "?", []string{"BEGIN"}
	return nil
}
