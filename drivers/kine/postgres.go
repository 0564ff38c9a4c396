package kine

import (
	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/postgres"
)

// openPostgres reads names as the server has them: no client_encoding is set, by kine neither, so that nothing is converted.
func (t *Table) openPostgres(dsn string, opts Options) (err error) {
	if t.db, err = postgres.Database(dsn, opts.Options); err != nil {
		return connect.Configuration(err)
	}
	t.server = postgres.ServerText
	t.parameter, t.begin = "$1", []string{"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"}
	return nil
}
