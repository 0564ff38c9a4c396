package postgres

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stele-db/stele/drivers/connect"
)

// ServerText is the [connect.ServerText] of pgx. It describes errors of a server and of attempts to connect.
func ServerText(err error) (string, bool) {
	switch e := err.(type) { //nolint:errorlint // the caller walks the tree
	case *pgconn.PgError:
		return e.Message + " (SQLSTATE " + e.Code + ")", true
	case *pgconn.ConnectError:
		return connect.AttemptsText(attempts(e.Unwrap()), e.Config.User, e.Config.Database), true
	}
	return "", false
}

// attempts returns the attempts to connect that err, the error inside a ConnectError, reports. There is one for each
// address of each host, with TLS and without.
func attempts(err error) []connect.Attempt {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []connect.Attempt
		for _, inner := range joined.Unwrap() {
			all = append(all, attempts(inner)...)
		}
		return all
	}
	inner := errors.Unwrap(err)
	if inner == nil {
		return []connect.Attempt{connect.NewAttempt(err, "", ServerText)}
	}
	host, ok := dialedHost(err, inner)
	if !ok {
		return attempts(inner)
	}
	if cause := errors.Unwrap(inner); cause != nil {
		inner = cause // without the name of the step that failed
	}
	return []connect.Attempt{connect.NewAttempt(inner, host, ServerText)}
}

// dialedHost returns the server of an attempt, with its name if the address does not contain it. pgx has the name only
// in the text of the error, as "ADDRESS (NAME): " in front of the inner error.
func dialedHost(err, inner error) (string, bool) {
	before, found := strings.CutSuffix(err.Error(), ": "+inner.Error())
	address, name, named := strings.Cut(before, " (")
	name, closed := strings.CutSuffix(name, ")")
	switch {
	case !found || !named || !closed:
		return "", false
	case strings.HasPrefix(address, name), strings.HasPrefix(address, "["+name+"]"):
		return address, true
	}
	return address + " (" + name + ")", true
}
