package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stele-db/stele/drivers/connect"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migration is a list of statements. Each is committed by itself, may be run by several replicas at once, and again after it
// succeeded: neither a transaction around DDL nor an advisory lock is something that all that speak PostgreSQL's protocol have.
type migration struct {
	statements []statement
	// compatible is the oldest version of the schema (so, the number of migrations that a binary knows) that can still work
	// once this migration was applied. Additive migrations leave it at 1.
	compatible int
}

type statement struct {
	sql string
	// optional tells that a database that does not know it can do without.
	optional bool
	// brief limits the wait for locks: everything else that uses the table waits behind the statement meanwhile.
	brief bool
}

// migrations are in the order of their numbers, which start at 1 and have no gap (a test sees to it). A binary that knows N of them
// works on a schema whose `compatible` is N or less, whatever a newer binary has added to it.
var migrations = readMigrations()

func readMigrations() []migration {
	entries, err := fs.ReadDir(migrationFiles, "migrations") // sorted by name
	if err != nil {
		return nil // cannot happen: the directory is embedded
	}
	all := make([]migration, 0, len(entries))
	for _, entry := range entries {
		script, err := migrationFiles.ReadFile("migrations/" + entry.Name())
		if err != nil {
			return nil // cannot happen either
		}
		all = append(all, parseMigration(string(script)))
	}
	return all
}

// parseMigration splits a script at the semicolons that end lines. The comments "-- optional" and "-- brief" stand before
// statements of that kind.
func parseMigration(script string) migration {
	m := migration{compatible: 1}
	for part := range strings.SplitSeq(script, ";\n") {
		var s statement
		var lines []string
		for line := range strings.SplitSeq(part, "\n") {
			switch trimmed := strings.TrimSpace(line); {
			case trimmed == "-- optional":
				s.optional = true
			case trimmed == "-- brief":
				s.brief = true
			case trimmed == "" || strings.HasPrefix(trimmed, "--"):
			default:
				lines = append(lines, line)
			}
		}
		if len(lines) > 0 {
			s.sql = strings.Join(lines, "\n")
			m.statements = append(m.statements, s)
		}
	}
	return m
}

// schemaTable comes before all migrations, because it says which of them are there.
var schemaTable = []statement{
	{sql: `CREATE TABLE IF NOT EXISTS {prefix}_schema (
  one        boolean NOT NULL PRIMARY KEY CHECK (one),
  version    integer NOT NULL,
  compatible integer NOT NULL
)`},
	{sql: `INSERT INTO {prefix}_schema (one, version, compatible) VALUES (true, 0, 1) ON CONFLICT (one) DO NOTHING`},
}

// done is the statement that records that migration number n, from 1, was applied.
func (m migration) done(n int) string {
	return fmt.Sprintf(`UPDATE {prefix}_schema SET version = %[1]d, compatible = %[2]d WHERE version < %[1]d`, n, m.compatible)
}

// withPrefix puts the name of the tables, which was validated, into a statement.
func withPrefix(sql, prefix string) string { return strings.ReplaceAll(sql, "{prefix}", prefix) }

// Schema returns the statements that create the database, the tables and their rows that [Open] would create for dsn, in
// the order in which an administrator can run them: the first one anywhere, the others in that database.
func Schema(dsn string) ([]string, error) {
	cfg, err := parseDSN(dsn)
	if err != nil {
		return nil, err
	}
	statements := []string{cfg.createDatabase()}
	if create := cfg.createSchema(); create != "" {
		statements = append(statements, create, "SET search_path = "+quote(cfg.schema))
	}
	for _, s := range allStatements(migrations) {
		statements = append(statements, withPrefix(s.sql, cfg.prefix))
	}
	return statements, nil
}

func allStatements(migrations []migration) []statement {
	all := append([]statement{}, schemaTable...)
	for i, m := range migrations {
		all = append(all, m.statements...)
		all = append(all, statement{sql: m.done(i + 1)})
	}
	return all
}

// schemaVersion is the row of the schema table.
type schemaVersion struct{ version, compatible int }

// readSchemaVersion returns zeros when there is no schema yet.
func readSchemaVersion(ctx context.Context, c *pgconn.PgConn, prefix string) (schemaVersion, error) {
	var v schemaVersion
	result := c.ExecParams(ctx, withPrefix(`SELECT version::bigint, compatible::bigint FROM {prefix}_schema`, prefix), nil, nil, nil, binaryResults)
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

// migrate brings the schema up to date. Any number of replicas may do so at once, of different versions too.
func migrate(ctx context.Context, c *pgconn.PgConn, cfg *config, migrations []migration) error {
	v, err := readSchemaVersion(ctx, c, cfg.prefix)
	if err != nil {
		return err
	}
	if v.compatible > len(migrations) {
		return &openFailure{text: fmt.Sprintf("a newer version of Stele changed the tables %s_* to schema %d, which a version that knows schema %d can use, and this one knows only %d: run a newer version",
			cfg.prefix, v.version, v.compatible, len(migrations))}
	}
	if v.version >= len(migrations) {
		return nil
	}
	if v.version == 0 {
		if err := createSchema(ctx, c, cfg); err != nil {
			return err
		}
		for _, s := range schemaTable {
			s.sql = withPrefix(s.sql, cfg.prefix)
			if err := apply(ctx, c, s); err != nil {
				return missingRight(err, s.sql)
			}
		}
	}
	for n := v.version + 1; n <= len(migrations); n++ {
		m := migrations[n-1]
		for _, s := range append(m.statements[:len(m.statements):len(m.statements)], statement{sql: m.done(n)}) {
			s.sql = withPrefix(s.sql, cfg.prefix)
			if err := apply(ctx, c, s); err != nil {
				return missingRight(fmt.Errorf("migration %d: %w", n, err), s.sql)
			}
		}
	}
	return nil
}

// createSchema creates the schema of the tables unless it is there: IF NOT EXISTS demands the right to create one in any case.
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
	if err := apply(ctx, c, statement{sql: create}); err != nil {
		return missingRight(err, create)
	}
	return nil
}

// apply runs a statement that others may be running too.
func apply(ctx context.Context, c *pgconn.PgConn, s statement) error {
	for attempt := 0; ; attempt++ {
		err := run(ctx, c, s)
		switch code(err) {
		case "":
			return err
		case pgerrcode.DuplicateTable, pgerrcode.DuplicateSchema, pgerrcode.DuplicateColumn, pgerrcode.DuplicateObject, pgerrcode.DuplicateDatabase:
			return nil
		case pgerrcode.FeatureNotSupported, pgerrcode.SyntaxError:
			if s.optional {
				return nil
			}
			return err
		case pgerrcode.UniqueViolation, pgerrcode.SerializationFailure, pgerrcode.DeadlockDetected, pgerrcode.InternalError:
			// Two that create the same thing at once collide in the catalogue ("tuple concurrently updated" has no code of its
			// own): the next attempt finds it.
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
			// What has waited behind the statement goes first.
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

// run runs a statement once. Several in one string are one transaction.
func run(ctx context.Context, c *pgconn.PgConn, s statement) error {
	if s.brief {
		setting := fmt.Sprintf(`SELECT set_config('lock_timeout', '%d', true); `, briefWait.Milliseconds()) // ends with the transaction
		_, err := c.Exec(ctx, setting+s.sql).ReadAll()
		return err
	}
	_, err := c.ExecParams(ctx, s.sql, nil, nil, nil, nil).Close()
	return err
}

// missingRight names the statement that somebody with more rights has to run.
func missingRight(err error, sql string) error {
	switch code(err) {
	case pgerrcode.InsufficientPrivilege, pgerrcode.InvalidSchemaName:
		return &openFailure{
			text: fmt.Sprintf("the user of the data source name may not run this; let an administrator do it (`stele schema --print` prints all statements): %s", sql),
			err:  err,
		}
	}
	return err
}

// openFailure is a reason not to open a log that only an administrator can mend.
type openFailure struct {
	text string
	err  error
}

func (e *openFailure) Error() string {
	if e.err == nil {
		return e.text
	}
	return e.text + " (" + connect.Text(e.err, ServerText) + ")"
}

func (e *openFailure) Unwrap() error { return e.err }

// code is the SQLSTATE of err, empty if it has none.
func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
