// Package driver defines what a driver says about itself, so that one list of values is all that has to name it.
package driver

import (
	"context"
	"database/sql"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/logstructured/log"
)

// Options configure a log beyond its DSN.
type Options struct {
	// Logger is required.
	Logger *logrus.Entry
	// Options of connections to a server. A file needs only BesideKine.
	connect.Options
}

// Driver is one kind of database. Each function takes a whole DSN, which begins with one of the Schemes or, where the
// driver is the one for files, may be a path. No error shows a password.
type Driver struct {
	// Schemes begin the DSNs, without "://". The first one is the driver's name.
	Schemes []string
	// Form is a DSN with placeholders, for error messages.
	Form string
	// Remote reports that the database is a server, so that TLS, a password, a pool of connections and further replicas
	// have a meaning.
	Remote bool

	// Open opens the log, and creates it if the database allows. Errors that retrying cannot fix wrap
	// [connect.ErrConfiguration].
	Open func(ctx context.Context, dsn string, opts Options) (log.Log, error)
	// Schema returns the statements that create what Open would create, in order, without connecting.
	Schema func(dsn string) ([]string, error)
	// Describe returns where the data is, without user, password and options (see [Server]).
	Describe func(dsn string) (string, error)
	// File returns the absolute path of the database file. It is nil for a server.
	File func(dsn string) (string, error)
	// OpenTable opens the database for reading a table of another program, without connecting yet.
	OpenTable func(dsn string, opts Options) (Table, error)
}

// Table is a database that is read by way of database/sql.
type Table struct {
	*sql.DB
	// Begin are the statements that begin a transaction whose queries all read one snapshot.
	Begin []string
	// Parameter is the placeholder of a query's only parameter.
	Parameter string
	// Text is the driver's text of an error.
	Text connect.ServerText
}

// Logged returns what a driver's function for opening returned as a [log.Log]: no nil pointer in an interface.
func Logged[L log.Log](l L, err error) (log.Log, error) {
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Server describes a database on a server. Without a prefix of the tables it leaves that out. If the end of a password
// was probably taken for something else, because it was not escaped, it shows nothing but the scheme.
func Server(scheme, hosts, database, prefix string) string {
	if strings.Contains(hosts+database+prefix, "@") {
		return scheme + "://..."
	}
	text := scheme + "://" + hosts + "/" + database
	if prefix != "" {
		text += "?table_prefix=" + prefix
	}
	return text
}
