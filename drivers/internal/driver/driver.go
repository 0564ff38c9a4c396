// Package driver defines the value by which a driver describes itself, so that only one list names the drivers.
package driver

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/logstructured/log"
)

// Options configure a log beyond its DSN.
type Options struct {
	// Logger is required.
	Logger *logrus.Entry
	// Options configure connections to a server. Files use only BesideKine.
	connect.Options
}

// Driver describes one kind of database. Each function takes a whole DSN, which begins with one of the Schemes; the
// driver for files also accepts a path. No error contains a password.
type Driver struct {
	// Schemes are the URL schemes of the DSNs, without "://". The first one is the driver's name.
	Schemes []string
	// Form is a DSN with placeholders, for error messages.
	Form string
	// Remote reports whether the database is a server, for which TLS, a password, a pool of connections and several
	// replicas are meaningful.
	Remote bool

	// Open opens the log, and creates it if the database allows. Errors that retrying cannot fix wrap
	// [connect.ErrConfiguration].
	Open func(ctx context.Context, dsn string, opts Options) (log.Log, error)
	// Schema returns the statements that create what Open would create, in order, without connecting.
	Schema func(dsn string) ([]string, error)
	// Describe returns the location of the data, without user, password and options (see [Server]).
	Describe func(dsn string) (string, error)
	// File returns the absolute path of the database file. It is nil for a server.
	File func(dsn string) (string, error)
	// OpenTable opens the database for reading a table of another program, without connecting yet.
	OpenTable func(dsn string, opts Options) (Table, error)
}

// Table is a database that is read through database/sql.
type Table struct {
	*sql.DB
	// Begin holds the statements that begin a transaction whose queries all read one snapshot.
	Begin []string
	// Parameter is the placeholder of a query's only parameter.
	Parameter string
	// Text is the driver's [connect.ServerText].
	Text connect.ServerText
}

// Logged converts the result of a driver's open function to a [log.Log]. It avoids a nil pointer in the interface.
func Logged[L log.Log](l L, err error) (log.Log, error) {
	if err != nil {
		return nil, err
	}
	return l, nil
}

// DefaultPrefix begins the names of the tables on a server unless the DSN has another prefix.
const DefaultPrefix = "stele"

var validPrefix = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,39}$`)

// TakePrefix removes the option table_prefix from the options of a DSN and returns its value, which is an identifier
// without quotes, or else [DefaultPrefix].
func TakePrefix(options map[string]string) (string, error) {
	prefix, ok := options["table_prefix"]
	if !ok {
		return DefaultPrefix, nil
	}
	delete(options, "table_prefix")
	if !validPrefix.MatchString(prefix) {
		return "", fmt.Errorf("option table_prefix=%s: want 1 to 40 of a-z, 0-9 and _, and no digit first", prefix)
	}
	return prefix, nil
}

// Server describes a database on a server. It omits the default prefix. It returns only the scheme if an unescaped
// character in the password probably made a part of the password look like something else.
func Server(scheme string, hosts []string, database, prefix string) string {
	location := strings.Join(hosts, ",") + "/" + database
	if strings.Contains(location+prefix, "@") {
		return scheme + "://..."
	}
	text := scheme + "://" + location
	if prefix != DefaultPrefix {
		text += "?table_prefix=" + prefix
	}
	return text
}
