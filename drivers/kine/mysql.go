package kine

import (
	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/mysql"
)

// openMySQL reads names as they are stored: the sessions of package mysql convert nothing.
func (t *Table) openMySQL(dsn string, opts Options) (err error) {
	if t.db, err = mysql.Database(dsn, mysql.Options{Logger: opts.Logger, Options: opts.Options}); err != nil {
		return connect.Configuration(err)
	}
	t.server = mysql.ServerText
	t.parameter = "?"
	t.begin = []string{"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"}
	return nil
}
