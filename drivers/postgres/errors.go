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
	// errNoHead reports that the row with the log's end is gone.
	errNoHead = fmt.Errorf("%w: the table of the log's head is empty", log.ErrCorrupt)
	// errWaitCanceled reports that the server broke off the wait for a standby: the commit stands, as long as this
	// server does.
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
	f := &connect.Failure{Operation: "postgres: " + op, Sentinel: sentinelOf(err), Err: err, Server: ServerText}
	if errors.Is(f, log.ErrNoConnection) {
		f.Advice = connect.TooManyConnections
	}
	return f
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

// rolledBack tells whether err is the server's word that the statement it answers has no effect and never will. An
// error that ends the connection as well may come after the commit. Internal and system errors, and those of a class
// that other databases use for a commit they lost sight of, are not taken as a word.
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

// lostRace tells that the statement was rolled back only because another one was faster.
func lostRace(err error) bool {
	return rolledBack(err) && (code(err) == pgerrcode.SerializationFailure || code(err) == pgerrcode.DeadlockDetected)
}

// staleConnection tells that another connection may do better: this one is broken, or leads to a server that is not the
// primary any more, or has lost its prepared statements. A connection that could not be made is not one.
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
	case e.Code == pgerrcode.ReadOnlySQLTransaction, e.Code == pgerrcode.InvalidSQLStatementName, e.Code == pgerrcode.DuplicatePreparedStatement:
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
	return pgerrcode.IsInvalidAuthorizationSpecification(c) || c == pgerrcode.ProtocolViolation // PgBouncer's before 1.19
}

// permanent returns what to change if waiting does not fix an error of opening, and otherwise "".
func permanent(err error) string {
	if advice := connect.Permanent(err); advice != "" {
		return advice
	}
	if refusesTLS(err) {
		return "the server has no TLS: set ssl = on there, or do without --ca-file, --cert-file, --skip-verify and sslmode"
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
	case c == pgerrcode.ProtocolViolation: // PgBouncer has it for most errors, passing ones too
		for _, refusal := range poolerRefusals {
			if strings.Contains(e.Message, refusal) {
				return "check the endpoint, and the pooler's configuration"
			}
		}
	}
	return ""
}

// poolerRefusals are in the messages of PgBouncer that waiting does not change.
var poolerRefusals = []string{
	"unsupported startup parameter", "no such database", "no such user", "password authentication failed", "auth failed",
}

// refusesTLS reports whether a server has no TLS, and the configuration does not allow to connect without.
func refusesTLS(err error) bool {
	var e *pgconn.ConnectError
	if !errors.As(err, &e) || !strings.Contains(e.Error(), "server refused TLS connection") {
		return false // pgx has no value for it
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

// severity is FATAL or PANIC if the error ends the connection, and ERROR if it does not.
func severity(e *pgconn.PgError) string {
	if e.SeverityUnlocalized != "" {
		return e.SeverityUnlocalized
	}
	return e.Severity // some that speak the protocol do not send the other one
}

// stopped ends a request that must not be made again.
type stopped struct{ err error }

func (s *stopped) Error() string { return s.err.Error() }
func (s *stopped) Unwrap() error { return s.err }

// code is the SQLSTATE of err, empty if it has none.
func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
