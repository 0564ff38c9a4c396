package postgres

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/logstructured/log"
)

var (
	// errNoHead reports that the row of the head is missing.
	errNoHead = fmt.Errorf("%w: the table of the log's head is empty", log.ErrCorrupt)
	// errWaitCanceled reports that the server stopped waiting for a standby. The commit is on this server only, and is
	// lost if the server is.
	errWaitCanceled = errors.New("the server did not wait for its synchronous standby")
	// errReadOnlyServer reports that the server takes no writes.
	errReadOnlyServer = fmt.Errorf("%w: the server is a standby or was made read-only", log.ErrReadOnly)
)

// translate wraps err in the sentinel of its code.
func translate(op string, err error) error {
	if err == nil {
		return nil
	}
	return failure(op, err)
}

// failure returns err as one line that begins with the cause.
func failure(op string, err error) *connect.Failure {
	return connect.NewFailure("postgres: "+op, sentinelOf(err), err, ServerText)
}

func sentinelOf(err error) error {
	if errors.Is(err, pgconn.ErrReadOnlyConnection) {
		return log.ErrReadOnly
	}
	switch code(err) {
	case pgerrcode.ReadOnlySQLTransaction:
		return log.ErrReadOnly
	case pgerrcode.TooManyConnections:
		return log.ErrNoConnection
	case pgerrcode.DiskFull:
		return log.ErrNoSpace
	case pgerrcode.DataCorrupted, pgerrcode.IndexCorrupted:
		return log.ErrCorrupt
	}
	return nil
}

// rolledBack reports whether err proves that the statement has no effect and never will. An error that also ends the
// connection proves nothing, because it may follow the commit. Nor do internal errors, system errors, and the class of
// errors that other databases return for a commit with an unknown outcome.
func rolledBack(err error) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) || len(e.Code) != 5 {
		return false
	}
	switch {
	case severity(e) != "ERROR":
		return false
	case e.Code == pgerrcode.StatementCompletionUnknown, e.Code == pgerrcode.TransactionResolutionUnknown:
		return false
	case pgerrcode.IsConnectionException(e.Code):
		return false
	case pgerrcode.IsInternalError(e.Code):
		return e.Code != pgerrcode.InternalError
	case pgerrcode.IsSystemError(e.Code):
		return false
	case pgerrcode.IsOperatorIntervention(e.Code):
		return e.Code == pgerrcode.QueryCanceled
	}
	return true
}

// lostRace reports whether the statement was rolled back only because of a concurrent one.
func lostRace(err error) bool {
	return rolledBack(err) && (code(err) == pgerrcode.SerializationFailure || code(err) == pgerrcode.DeadlockDetected)
}

// staleConnection reports whether another connection may succeed. That is the case if this one is broken, leads to a
// server that is no longer the primary, or has lost its prepared statements. It returns false if no connection could be
// made.
func staleConnection(err error) bool {
	var (
		stop    *stopped
		connect *pgconn.ConnectError
		e       *pgconn.PgError
	)
	switch {
	case errors.As(err, &stop), errors.As(err, &connect):
		return false
	case errors.Is(err, errReadOnlyServer):
		return true
	case errors.Is(err, errNoHead), errors.Is(err, errWaitCanceled):
		return false
	case !errors.As(err, &e), severity(e) != "ERROR":
		return true
	case e.Code == pgerrcode.ReadOnlySQLTransaction,
		e.Code == pgerrcode.InvalidSQLStatementName, e.Code == pgerrcode.DuplicatePreparedStatement:
		return true
	case pgerrcode.IsConnectionException(e.Code):
		return true
	case pgerrcode.IsOperatorIntervention(e.Code):
		return e.Code != pgerrcode.QueryCanceled
	}
	return false
}

// refusesPassword reports whether a server, or a pooler, refused to authenticate a connection.
func refusesPassword(err error) bool {
	c := code(err)
	return pgerrcode.IsInvalidAuthorizationSpecification(c) || c == pgerrcode.ProtocolViolation // PgBouncer before 1.19
}

// permanent returns advice if retrying cannot fix err, an error of opening the log, and otherwise "".
func permanent(err error) string {
	if advice := connect.Permanent(err); advice != "" {
		return advice
	}
	if refusesTLS(err) {
		return "the server has no TLS: " +
			"set ssl = on there, or do without --ca-file, --cert-file, --skip-verify and sslmode"
	}
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return ""
	}
	switch c := e.Code; {
	case pgerrcode.IsInvalidAuthorizationSpecification(c):
		return "check user, password and certificate, and pg_hba.conf of the server"
	case c == pgerrcode.InsufficientPrivilege:
		return "grant the user what docs/databases.md names"
	case c == pgerrcode.UndefinedObject, c == pgerrcode.InvalidParameterValue, c == pgerrcode.CantChangeRuntimeParam:
		return "an option of the endpoint is neither Stele's nor a setting of the server, or has a wrong value"
	case c == pgerrcode.ProtocolViolation: // PgBouncer uses it for most errors, including temporary ones
		for _, refusal := range poolerRefusals {
			if strings.Contains(e.Message, refusal) {
				return "check the endpoint, and the pooler's configuration"
			}
		}
	}
	return ""
}

// poolerRefusals are parts of those messages of PgBouncer that report errors retrying cannot fix.
var poolerRefusals = []string{
	"unsupported startup parameter", "no such database", "no such user",
	"password authentication failed", "auth failed",
}

// refusesTLS reports whether the server has no TLS and the configuration does not allow connecting without it.
func refusesTLS(err error) bool {
	var e *pgconn.ConnectError
	if !errors.As(err, &e) || !strings.Contains(e.Error(), "server refused TLS connection") {
		return false // pgx has no error value for it
	}
	if e.Config.TLSConfig == nil {
		return false
	}
	for _, f := range e.Config.Fallbacks {
		if f.TLSConfig == nil {
			return false
		}
	}
	return true
}

// severity returns FATAL or PANIC if the error ends the connection, and ERROR if it does not.
func severity(e *pgconn.PgError) string {
	if e.SeverityUnlocalized != "" {
		return e.SeverityUnlocalized
	}
	return e.Severity // some databases that speak the protocol send only this field
}

// stopped wraps an error after which the request must not be repeated.
type stopped struct{ err error }

func (s *stopped) Error() string { return s.err.Error() }
func (s *stopped) Unwrap() error { return s.err }

// code returns the SQLSTATE of err, or "" if it has none.
func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
