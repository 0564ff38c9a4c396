package mysql

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/internal/migrations"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrationList holds the migrations. DDL is not transactional here, and several replicas may migrate at the same time,
// so each statement has no effect when it is run again.
var migrationList = migrations.ReadSplit(migrationFiles)

// Schema returns the statements that Open would run to create the log, in order. A user with the necessary privileges
// can run them in advance.
func Schema(dsn string) ([]string, error) {
	cfg, err := parseDSN(dsn)
	if err != nil {
		return nil, err
	}
	statements := []string{createDatabaseSQL(cfg.database), "USE " + quoteName(cfg.database)}
	for _, m := range migrationList {
		for _, s := range m.Statements {
			statements = append(statements, cfg.sql(s.SQL))
		}
	}
	if n := len(migrationList); n > 1 {
		statements = append(statements, cfg.sql(fmt.Sprintf(raiseVersionSQL, n, compatibleWith(migrationList))))
	}
	return statements, nil
}

const raiseVersionSQL = `UPDATE {prefix}_schema
	SET version = GREATEST(version, %d), compatible = GREATEST(compatible, %d)`

func compatibleWith(list []migrations.Migration) int {
	compatible := 1
	for _, m := range list {
		compatible = max(compatible, m.Compatible)
	}
	return compatible
}

func createDatabaseSQL(name string) string {
	return "CREATE DATABASE IF NOT EXISTS " + quoteName(name)
}

// quoteName quotes a name as an identifier.
func quoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// schemaVersion returns the number of the newest applied migration, 0 if there is no log yet. It returns an error if
// the log requires a newer version than list.
func schemaVersion(ctx context.Context, db *sql.Conn, cfg *config, list []migrations.Migration) (int, error) {
	var version, compatible int
	row := db.QueryRowContext(ctx, cfg.sql(`SELECT version, compatible FROM {prefix}_schema`))
	err := row.Scan(&version, &compatible)
	switch {
	case isNumber(err, errNoSuchTable), errors.Is(err, sql.ErrNoRows):
		return 0, nil // or another replica is creating the log
	case err != nil:
		return 0, err
	case compatible > len(list):
		return 0, &connect.OpenFailure{
			Text:   migrations.TooOld("the tables "+cfg.prefix+"_* were", version, compatible, len(list)),
			Server: ServerText,
		}
	}
	return version, nil
}

// migrate applies the missing migrations.
func migrate(ctx context.Context, db *sql.Conn, cfg *config, list []migrations.Migration) error {
	version, err := schemaVersion(ctx, db, cfg, list)
	if err != nil || version >= len(list) {
		return err
	}
	// A DDL statement that waits for a table's lock blocks every other statement that uses the table, so it must not
	// wait long.
	if _, err := db.ExecContext(ctx, "SET SESSION lock_wait_timeout = 1"); err != nil {
		return err
	}
	for ; version < len(list); version++ {
		for _, s := range list[version].Statements {
			if err := runMigration(ctx, db, cfg.sql(s.SQL)); err != nil {
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

// refuseReadOnly returns an error if the server takes no writes. The server itself would not stop a privileged user
// from changing tables.
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

// runMigration runs one statement. It retries when another replica that migrates at the same time interfered.
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
			return &connect.OpenFailure{
				Text: "the user may not create or change the tables; " +
					"have it run (all statements: stele schema --print):\n" + statement + ";\n",
				Err: err, Server: ServerText,
			}
		case errDeadlock, errLockWaitTimeout, errRecordChanged, errDefinitionChanged,
			errTiKVWriteConflict, errTiDBCommitFailed, errTiDBSchemaChanged,
			errNoSuchTable: // TiDB does not show tables that another replica creates at once
			if try == 10 {
				return err
			}
		default:
			return err
		}
		pause := time.Duration(try+1)*10*time.Millisecond + rand.N(20*time.Millisecond)
		if err := connect.Pause(ctx, pause); err != nil {
			return err
		}
	}
}
