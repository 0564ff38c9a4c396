package mysql

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migration is a list of statements. There are no transactions around tables being created, and several replicas may migrate at
// the same time, so each statement must do nothing when it is run again.
type migration struct {
	statements []string
	// compatible is the newest migration that a program must know to work with the tables after this one; 0 leaves it.
	compatible int
}

// migrations are in the order of their numbers, which start at 1 and have no gap (a test sees to it). They are additive: an older version
// goes on working beside and after them, unless they say otherwise by compatible.
var migrations = readMigrations()

func readMigrations() []migration {
	entries, err := fs.ReadDir(migrationFiles, "migrations") // sorted by name
	if err != nil {
		return nil // cannot happen: the directory is embedded
	}
	list := make([]migration, 0, len(entries))
	for _, entry := range entries {
		script, err := migrationFiles.ReadFile("migrations/" + entry.Name())
		if err != nil {
			return nil // cannot happen either
		}
		list = append(list, migration{statements: splitStatements(string(script))})
	}
	return list
}

// splitStatements splits one of our own scripts: comments stand on lines of their own, and statements end with a semicolon at the end of a line.
func splitStatements(script string) []string {
	var statements []string
	var b strings.Builder
	for line := range strings.Lines(script) {
		line = strings.TrimRight(line, "\n")
		if line == "" || strings.HasPrefix(line, "--") {
			continue
		}
		b.WriteString(strings.TrimSuffix(line, ";"))
		if strings.HasSuffix(line, ";") {
			statements = append(statements, b.String())
			b.Reset()
			continue
		}
		b.WriteByte('\n')
	}
	return statements
}

// Schema returns the statements that create what Open would, in order, for someone who has the rights to run them.
func Schema(dsn string) ([]string, error) {
	cfg, err := parseDSN(dsn)
	if err != nil {
		return nil, err
	}
	statements := []string{createDatabaseSQL(cfg.database), "USE " + quoteName(cfg.database)}
	for _, m := range migrations {
		for _, s := range m.statements {
			statements = append(statements, cfg.sql(s))
		}
	}
	if n := len(migrations); n > 1 {
		statements = append(statements, cfg.sql(fmt.Sprintf(raiseVersionSQL, n, compatibleWith(migrations))))
	}
	return statements, nil
}

const raiseVersionSQL = `UPDATE stele_schema SET version = GREATEST(version, %d), compatible = GREATEST(compatible, %d)`

func compatibleWith(list []migration) int {
	compatible := 1
	for _, m := range list {
		compatible = max(compatible, m.compatible)
	}
	return compatible
}

func createDatabaseSQL(name string) string {
	return "CREATE DATABASE IF NOT EXISTS " + quoteName(name)
}

// quoteName makes a name an identifier.
func quoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// schemaVersion returns the number of the newest migration applied, 0 if there is no log yet, or an error if list is too old to use it.
func schemaVersion(ctx context.Context, db *sql.Conn, cfg *config, list []migration) (int, error) {
	var version, compatible int
	err := db.QueryRowContext(ctx, cfg.sql(`SELECT version, compatible FROM stele_schema`)).Scan(&version, &compatible)
	switch {
	case isNumber(err, errNoSuchTable), errors.Is(err, sql.ErrNoRows):
		return 0, nil // or one that another replica is creating
	case err != nil:
		return 0, err
	case compatible > len(list):
		return 0, &openFailure{text: fmt.Sprintf(
			"the tables %s_* were migrated by a newer version of Stele and need one that knows schema %d, this one knows %d: run that version or a later one",
			cfg.prefix, compatible, len(list))}
	}
	return version, nil
}

// migrate brings the tables up to date.
func migrate(ctx context.Context, db *sql.Conn, cfg *config, list []migration) error {
	version, err := schemaVersion(ctx, db, cfg, list)
	if err != nil || version >= len(list) {
		return err
	}
	// Everything else that uses a table waits behind a statement that waits to change it.
	if _, err := db.ExecContext(ctx, "SET SESSION lock_wait_timeout = 1"); err != nil {
		return err
	}
	for ; version < len(list); version++ {
		for _, s := range list[version].statements {
			if err := runMigration(ctx, db, cfg.sql(s)); err != nil {
				return err
			}
		}
	}
	if err := runMigration(ctx, db, cfg.sql(fmt.Sprintf(raiseVersionSQL, version, compatibleWith(list)))); err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "SET SESSION lock_wait_timeout = DEFAULT")
	return err
}

// refuseReadOnly returns an error if the server takes no writes: it would not stop a privileged user from changing tables.
func refuseReadOnly(ctx context.Context, db *sql.Conn) error {
	var writable bool
	if err := db.QueryRowContext(ctx, canWrite).Scan(&writable); err != nil {
		return err
	}
	if !writable {
		return errReadOnlyServer
	}
	return nil
}

// runMigration runs one statement, again when another replica that does the same got in its way.
func runMigration(ctx context.Context, db *sql.Conn, statement string) error {
	for try := 0; ; try++ {
		if err := refuseReadOnly(ctx, db); err != nil {
			return err
		}
		_, err := db.ExecContext(ctx, statement)
		var e *mysql.MySQLError
		if err == nil || !errors.As(err, &e) {
			return err
		}
		switch e.Number {
		case errTableExists, errDuplicateColumn, errDuplicateKeyName, errDuplicateEntry:
			return nil
		case errDenied, errDatabaseDenied, errTableDenied, errColumnDenied, errPrivilegeNeeded:
			return &openFailure{text: fmt.Sprintf("the user may not create or change the tables; have it run (all statements: stele schema --print):\n%s;\n", statement), err: err}
		case errDeadlock, errLockWaitTimeout, errRecordChanged, errDefinitionChanged, errTiKVWriteConflict, errTiDBCommitFailed, errTiDBSchemaChanged,
			errNoSuchTable: // TiDB does not see at once what another replica creates
			if try == 10 {
				return err
			}
		default:
			return err
		}
		timer := time.NewTimer(time.Duration(try+1)*10*time.Millisecond + rand.N(20*time.Millisecond))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}
