package drivers

import (
	"context"
	"errors"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/mysql"
	"github.com/stele-db/stele/drivers/postgres"
	"github.com/stele-db/stele/drivers/sqlite"
	"github.com/stele-db/stele/logstructured/log"
)

// DefaultDSN is what an empty DSN stands for: kine's default file.
const DefaultDSN = "sqlite://./db/state.db"

// ErrUnsupported means that the DSN names a database that this version cannot use.
var ErrUnsupported = errors.New("database is not supported")

// Options configure a log beyond its DSN.
type Options struct {
	// Logger is required.
	Logger *logrus.Entry
	// Options of connections to a server; a SQLite file needs none.
	connect.Options
}

// Open opens the log at dsn, creating it if the database allows:
//
//   - "sqlite://PATH?options": a SQLite file; package sqlite documents the options. "PATH" without a scheme is the same.
//   - "litestream://PATH?options": the same, with all checkpoints left to Litestream.
//   - "postgres://USER:PASSWORD@HOST:PORT/DATABASE?options" (or "postgresql://"): see package postgres.
//   - "mysql://USER:PASSWORD@tcp(HOST:PORT)/DATABASE?options" (or "mariadb://"): see package mysql.
//   - "": [DefaultDSN].
//
// The error of any other scheme wraps [ErrUnsupported]. An error that trying again cannot mend wraps
// [connect.ErrConfiguration]: every one of a file, and those of a server that its driver tells apart.
func Open(ctx context.Context, dsn string, opts Options) (log.Log, error) {
	scheme, rest, err := Split(dsn)
	if err != nil {
		return nil, connect.Configuration(err)
	}
	switch scheme {
	case "postgres":
		return opened(postgres.Open(ctx, scheme+"://"+rest, postgres.Options{Logger: opts.Logger, Options: opts.Options}))
	case "mysql":
		return opened(mysql.Open(ctx, scheme+"://"+rest, mysql.Options{Logger: opts.Logger, Options: opts.Options}))
	default:
		l, err := opened(sqlite.Open(ctx, rest, sqlite.Options{Logger: opts.Logger, BesideKine: opts.BesideKine}))
		return l, connect.Configuration(err)
	}
}

// Schema returns the statements that create what [Open] would create at dsn: each is complete and ends with a semicolon. Nothing is asked of
// the database.
func Schema(dsn string) ([]string, error) {
	scheme, rest, err := Split(dsn)
	if err != nil {
		return nil, connect.Configuration(err)
	}
	var statements []string
	switch scheme {
	case "postgres":
		statements, err = postgres.Schema(scheme + "://" + rest)
	case "mysql":
		statements, err = mysql.Schema(scheme + "://" + rest)
	default:
		statements = sqlite.Schema()
	}
	if err != nil {
		return nil, connect.Configuration(err)
	}
	for i, statement := range statements {
		statement = strings.TrimSpace(statement)
		if !strings.HasSuffix(statement, ";") {
			statement += ";"
		}
		statements[i] = statement
	}
	return statements, nil
}

// opened turns what a driver's Open returned into what [Open] returns: no nil pointer in an interface.
func opened[L log.Log](l L, err error) (log.Log, error) {
	if err != nil {
		return nil, err
	}
	return l, nil
}
