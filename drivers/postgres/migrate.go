package postgres

import (
	"context"
	"embed"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/internal/migrations"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrationList holds the migrations. Each statement is committed separately, and is safe to run concurrently and
// repeatedly, because not all databases that speak PostgreSQL's protocol have transactional DDL or advisory locks.
var migrationList = migrations.ReadSplit(migrationFiles)

// schemaTable runs before all migrations, because its table records which of them were applied.
var schemaTable = []migrations.Statement{
	{SQL: `CREATE TABLE IF NOT EXISTS {prefix}_schema (
  one        boolean NOT NULL PRIMARY KEY CHECK (one),
  version    integer NOT NULL,
  compatible integer NOT NULL
)`},
	{SQL: `INSERT INTO {prefix}_schema (one, version, compatible) VALUES (true, 0, 1) ON CONFLICT (one) DO NOTHING`},
}

// done returns the statement that records that migration number n (from 1) was applied.
func done(m migrations.Migration, n int) string {
	const update = `UPDATE {prefix}_schema SET version = %[1]d, compatible = %[2]d WHERE version < %[1]d`
	return fmt.Sprintf(update, n, m.Compatible)
}

// Schema returns the statements that [Open] would run to create the database, the tables and their rows for dsn. An
// administrator can run them in order: the first one in any database, the others in the new one.
func Schema(dsn string) ([]string, error) {
	cfg, err := parseDSN(dsn)
	if err != nil {
		return nil, err
	}
	statements := []string{cfg.createDatabase()}
	if create := cfg.createSchema(); create != "" {
		statements = append(statements, create, "SET search_path = "+quote(cfg.schema))
	}
	for _, s := range allStatements(migrationList) {
		statements = append(statements, migrations.WithPrefix(s.SQL, cfg.prefix))
	}
	return statements, nil
}

func allStatements(list []migrations.Migration) []migrations.Statement {
	all := append([]migrations.Statement{}, schemaTable...)
	for i, m := range list {
		all = append(all, m.Statements...)
		all = append(all, migrations.Statement{SQL: done(m, i+1)})
	}
	return all
}

// schemaVersion is the row of the schema table.
type schemaVersion struct{ version, compatible int }

// readSchemaVersion returns zeros if there is no schema yet.
func readSchemaVersion(ctx context.Context, c *pgconn.PgConn, prefix string) (schemaVersion, error) {
	var v schemaVersion
	query := migrations.WithPrefix(`SELECT version::bigint, compatible::bigint FROM {prefix}_schema`, prefix)
	result := c.ExecParams(ctx, query, nil, nil, nil, binaryResults)
	for result.NextRow() {
		row := result.Values()
		v.version, v.compatible = int(int64Of(row[0])), int(int64Of(row[1]))
	}
	_, err := result.Close()
	if code(err) == pgerrcode.UndefinedTable {
		return v, nil
	}
	return v, err
}

// migrate applies the missing migrations. Replicas of any version may run it concurrently.
func migrate(ctx context.Context, c *pgconn.PgConn, cfg *config, list []migrations.Migration) error {
	v, err := readSchemaVersion(ctx, c, cfg.prefix)
	if err != nil {
		return err
	}
	if v.compatible > len(list) {
		return &connect.OpenFailure{
			Text:   migrations.TooOld("the tables "+cfg.prefix+"_* were", v.version, v.compatible, len(list)),
			Server: ServerText,
		}
	}
	if v.version >= len(list) {
		return nil
	}
	if v.version == 0 {
		if err := createSchema(ctx, c, cfg); err != nil {
			return err
		}
		for _, s := range schemaTable {
			s.SQL = migrations.WithPrefix(s.SQL, cfg.prefix)
			if err := apply(ctx, c, s); err != nil {
				return missingRight(err, s.SQL)
			}
		}
	}
	for n := v.version + 1; n <= len(list); n++ {
		m := list[n-1]
		for _, s := range append(slices.Clone(m.Statements), migrations.Statement{SQL: done(m, n)}) {
			s.SQL = migrations.WithPrefix(s.SQL, cfg.prefix)
			if err := apply(ctx, c, s); err != nil {
				return missingRight(fmt.Errorf("migration %d: %w", n, err), s.SQL)
			}
		}
	}
	return nil
}

// createSchema creates the schema of the tables if it is missing. It checks first, because CREATE SCHEMA IF NOT EXISTS
// requires the privilege even if the schema exists.
func createSchema(ctx context.Context, c *pgconn.PgConn, cfg *config) error {
	create := cfg.createSchema()
	if create == "" {
		return nil
	}
	const exists = `SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1`
	found := c.ExecParams(ctx, exists, [][]byte{[]byte(cfg.schema)}, nil, nil, nil).Read()
	if found.Err != nil || len(found.Rows) > 0 {
		return found.Err
	}
	if err := apply(ctx, c, migrations.Statement{SQL: create}); err != nil {
		return missingRight(err, create)
	}
	return nil
}

// apply runs a statement that other replicas may be running concurrently.
func apply(ctx context.Context, c *pgconn.PgConn, s migrations.Statement) error {
	for attempt := 0; ; attempt++ {
		err := run(ctx, c, s)
		switch code(err) {
		case "":
			return err
		case pgerrcode.DuplicateTable, pgerrcode.DuplicateSchema, pgerrcode.DuplicateColumn,
			pgerrcode.DuplicateObject, pgerrcode.DuplicateDatabase:
			return nil
		case pgerrcode.FeatureNotSupported, pgerrcode.SyntaxError:
			if s.Optional {
				return nil
			}
			return err
		case pgerrcode.UniqueViolation, pgerrcode.SerializationFailure, pgerrcode.DeadlockDetected,
			pgerrcode.InternalError:
			// Two statements that create the same object concurrently collide in the catalog ("tuple concurrently
			// updated" has no code of its own). The next attempt finds the object.
			if attempt == 10 {
				return err
			}
			if err := connect.Pause(ctx, time.Duration(attempt+1)*10*time.Millisecond); err != nil {
				return err
			}
		case pgerrcode.LockNotAvailable:
			if attempt == 10 {
				return fmt.Errorf("another transaction, such as a dump, uses the table all the time: %w", err)
			}
			// Let the statements that were queued behind this one run first.
			if err := connect.Pause(ctx, briefWait); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// briefWait bounds the wait for locks of a brief statement.
const briefWait = 500 * time.Millisecond

// run runs a statement once. Several statements in one string are one transaction.
func run(ctx context.Context, c *pgconn.PgConn, s migrations.Statement) error {
	if s.Brief {
		// The setting ends with the transaction.
		setting := fmt.Sprintf(`SELECT set_config('lock_timeout', '%d', true); `, briefWait.Milliseconds())
		_, err := c.Exec(ctx, setting+s.SQL).ReadAll()
		return err
	}
	_, err := c.ExecParams(ctx, s.SQL, nil, nil, nil, nil).Close()
	return err
}

// missingRight adds the statement that an administrator has to run, if the user lacks the privilege.
func missingRight(err error, sql string) error {
	switch code(err) {
	case pgerrcode.InsufficientPrivilege, pgerrcode.InvalidSchemaName:
		return &connect.OpenFailure{
			Text: "the user of the data source name may not run this; " +
				"let an administrator do it (`stele schema --print` prints all statements): " + sql,
			Err: err, Server: ServerText,
		}
	}
	return err
}
