package mysql

import (
	"fmt"

	"github.com/go-sql-driver/mysql"

	"github.com/stele-db/stele/drivers/connect"
)

// ServerText is the [connect.ServerText] of the MySQL driver. It describes errors of a server and of attempts to
// connect.
func ServerText(err error) (string, bool) {
	switch e := err.(type) { //nolint:errorlint // the caller walks the tree
	case *mysql.MySQLError:
		return fmt.Sprintf("%s (error %d)", e.Message, e.Number), true
	case *connectError:
		return e.Error(), true
	}
	return "", false
}

// connectError reports that no server accepted a connection.
type connectError struct {
	// errs are the reasons, in the order of hosts.
	errs           []error
	hosts          []string
	user, database string
}

func (e *connectError) add(server *mysql.Config, err error) {
	e.errs, e.hosts = append(e.errs, err), append(e.hosts, server.Addr)
}

func (e *connectError) Error() string {
	attempts := make([]connect.Attempt, len(e.errs))
	for i, err := range e.errs {
		attempts[i] = connect.NewAttempt(err, e.hosts[i], ServerText)
	}
	return connect.AttemptsText(attempts, e.user, e.database)
}

func (e *connectError) Unwrap() []error { return e.errs }
