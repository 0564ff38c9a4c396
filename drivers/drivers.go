package drivers

import (
	"context"
	"strings"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/internal/driver"
	"github.com/stele-db/stele/drivers/mysql"
	"github.com/stele-db/stele/drivers/postgres"
	"github.com/stele-db/stele/drivers/sqlite"
	"github.com/stele-db/stele/logstructured/log"
)

// all lists the drivers. A new driver is added only here.
var all = []*driver.Driver{&sqlite.Driver, &postgres.Driver, &mysql.Driver}

// files is the driver of a DSN without a scheme.
var files = &sqlite.Driver

// DefaultDSN replaces an empty DSN. It is kine's default file.
const DefaultDSN = "sqlite://./db/state.db"

// Options configure a log beyond its DSN.
type Options = driver.Options

// Table is a database that is read through database/sql.
type Table = driver.Table

// Open opens the log at dsn, creating it if the database allows:
//
//   - "sqlite://PATH?options", or "PATH" without a scheme: a SQLite file; package sqlite documents the options.
//   - "litestream://PATH?options": the same, with all checkpoints left to Litestream.
//   - "postgres://USER:PASSWORD@HOST:PORT/DATABASE?options" (or "postgresql://"): see package postgres.
//   - "mysql://USER:PASSWORD@tcp(HOST:PORT)/DATABASE?options" (or "mariadb://"): see package mysql.
//   - "": [DefaultDSN].
//
// Open returns an error that wraps [ErrUnsupported] for any other scheme. Errors that retrying cannot fix wrap
// [connect.ErrConfiguration]: all errors of opening a file, and those errors of a server that its driver recognizes.
func Open(ctx context.Context, dsn string, opts Options) (log.Log, error) {
	d, dsn, err := find(dsn)
	if err != nil {
		return nil, connect.Configuration(err)
	}
	return d.Open(ctx, dsn, opts)
}

// Schema returns the statements that create what [Open] would create at dsn, without connecting. Each statement is
// complete and ends with a semicolon.
func Schema(dsn string) ([]string, error) {
	d, dsn, err := find(dsn)
	if err != nil {
		return nil, connect.Configuration(err)
	}
	statements, err := d.Schema(dsn)
	for i, statement := range statements {
		statements[i] = strings.TrimSuffix(strings.TrimSpace(statement), ";") + ";"
	}
	return statements, connect.Configuration(err)
}

// OpenTable opens the database at dsn for reading a table of another program. It does not connect yet.
func OpenTable(dsn string, opts Options) (Table, error) {
	d, dsn, err := find(dsn)
	if err != nil {
		return Table{}, connect.Configuration(err)
	}
	t, err := d.OpenTable(dsn, opts)
	return t, connect.Configuration(err)
}

// Remote reports whether dsn names a server, for which TLS, a password and a pool of connections are meaningful.
func Remote(dsn string) bool {
	d, _, err := find(dsn)
	return err == nil && d.Remote
}

// File returns the absolute path of the file that dsn names, or "" if dsn names a server.
func File(dsn string) (string, error) {
	d, dsn, err := find(dsn)
	if err != nil || d.File == nil {
		return "", err
	}
	return d.File(dsn)
}

// Describe returns a description of the data's location for people: the absolute path of a file, or the scheme, hosts,
// database and table prefix of a server. It omits the user, the password and other options. It returns only the scheme
// if dsn is invalid, or if an unescaped character in the password could make a part of it look like something else.
func Describe(dsn string) string {
	d, whole, err := find(dsn)
	if err == nil {
		text, err := d.Describe(whole)
		if err == nil {
			return text
		}
		return d.Schemes[0] + "://..."
	}
	scheme, _, found := strings.Cut(dsn, "://")
	if !found || !validScheme.MatchString(scheme) {
		return "..."
	}
	return scheme + "://..."
}
