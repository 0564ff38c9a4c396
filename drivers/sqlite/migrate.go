package sqlite

import (
	"embed"
	"fmt"

	"github.com/stele-db/stele/drivers/internal/migrations"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// scripts holds the migrations in order of their numbers, which start at 1 without a gap (a test checks that). They are
// additive: a version of Stele that knows N of them can use a file whose `compatible` is at most N, whatever newer
// versions have added.
var scripts = migrations.Read(migrationFiles)

// compatible is the number of migrations that a version must know to use a file that has all of them.
const compatible = 1

// migrate applies the missing migrations in one transaction.
func migrate(c *conn, cfg config) error {
	if done, err := migrated(c, cfg); err != nil || done {
		return err
	}
	if err := c.exec(`BEGIN IMMEDIATE`); err != nil {
		return err
	}
	err := func() error {
		version, err := schemaVersion(c, cfg) // another process may have migrated meanwhile
		if err != nil {
			return err
		}
		for ; version < len(scripts); version++ {
			if err := c.script(scripts[version]); err != nil {
				return fmt.Errorf("migration %d: %w", version+1, err)
			}
		}
		for _, column := range laterColumns {
			if err := column.add(c); err != nil {
				return err
			}
		}
		if err := c.exec(fmt.Sprintf(raiseVersionSQL, version, compatible)); err != nil {
			return err
		}
		return c.exec(`COMMIT`)
	}()
	if err != nil && c.inTransaction() {
		_ = c.exec(`ROLLBACK`) // the connection is closed next, which rolls back as well
	}
	return err
}

const raiseVersionSQL = `UPDATE stele_schema SET version = max(version, %d), compatible = max(compatible, %d)`

// laterColumns are columns that files of earlier versions lack. They are not migrations: a new file has each of them in
// its best place, and earlier versions do not notice them because they name the columns that they use.
var laterColumns = []column{
	compatibleColumn,
	{"stele_log", "checksum", "INTEGER"},
}

var compatibleColumn = column{"stele_schema", "compatible", "INTEGER NOT NULL DEFAULT 1"}

// column is a column of a table with its declaration.
type column struct{ table, name, declaration string }

// exists reports whether the table has the column.
func (col column) exists(c *conn) (bool, error) {
	query := fmt.Sprintf(`SELECT count(*) FROM pragma_table_info('%s') WHERE name = '%s'`, col.table, col.name)
	found, err := c.int64s(query, 1)
	return err == nil && found[0] > 0, err
}

// add adds the column if it is missing. Its time does not depend on the size of the table.
func (col column) add(c *conn) error {
	if exists, err := col.exists(c); err != nil || exists {
		return err
	}
	return c.exec(fmt.Sprintf(`ALTER TABLE %s ADD COLUMN %s %s`, col.table, col.name, col.declaration))
}

// migrated reports whether no migration is missing.
func migrated(c *conn, cfg config) (bool, error) {
	version, err := schemaVersion(c, cfg)
	if err != nil || version < len(scripts) {
		return false, err
	}
	for _, column := range laterColumns {
		if exists, err := column.exists(c); err != nil || !exists {
			return false, err
		}
	}
	return true, nil
}
