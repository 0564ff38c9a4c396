package sqlite

import (
	"embed"
	"fmt"
	"io/fs"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrations are the scripts in the order of their numbers, which start at 1 and have no gap (a test sees to it).
// They are additive: an older version that opened the file before goes on working.
var migrations = readMigrations()

func readMigrations() []string {
	entries, err := fs.ReadDir(migrationFiles, "migrations") // sorted by name
	if err != nil {
		return nil // cannot happen: the directory is embedded
	}
	scripts := make([]string, 0, len(entries))
	for _, entry := range entries {
		script, err := migrationFiles.ReadFile("migrations/" + entry.Name())
		if err != nil {
			return nil // cannot happen either
		}
		scripts = append(scripts, string(script))
	}
	return scripts
}

// migrate brings the schema up to date, in one transaction.
func migrate(c *conn, cfg config) error {
	if version, err := schemaVersion(c, cfg); err != nil || version == len(migrations) {
		return err
	}
	if err := c.exec(`BEGIN IMMEDIATE`); err != nil {
		return err
	}
	err := func() error {
		version, err := schemaVersion(c, cfg) // another process may have been faster
		if err != nil {
			return err
		}
		for ; version < len(migrations); version++ {
			if err := c.script(migrations[version]); err != nil {
				return fmt.Errorf("migration %d: %w", version+1, err)
			}
		}
		if err := c.exec(fmt.Sprintf(`UPDATE stele_schema SET version = %d`, version)); err != nil {
			return err
		}
		return c.exec(`COMMIT`)
	}()
	if err != nil && c.inTransaction() {
		_ = c.exec(`ROLLBACK`) // the connection is closed next, which rolls back as well
	}
	return err
}
