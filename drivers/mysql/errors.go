package mysql

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/logstructured/log"
)

// Error numbers of MySQL, MariaDB and TiDB.
const (
	errDatabaseExists       = 1007
	errRecordChanged        = 1020 // MariaDB with innodb_snapshot_isolation: the row changed after the snapshot
	errDiskFull             = 1021
	errOnWrite              = 1026
	errEngine               = 1030
	errTooManyConns         = 1040
	errOutOfResources       = 1041
	errDatabaseDenied       = 1044
	errDenied               = 1045
	errNoDatabase           = 1046
	errWsrepNotReady        = 1047 // Galera: the node is not part of the cluster's majority
	errNullPosition         = 1048 // the precondition of an INSERT on a read-only server
	errUnknownDatabase      = 1049
	errTableExists          = 1050
	errUnknownColumn        = 1054
	errDuplicateColumn      = 1060
	errDuplicateKeyName     = 1061
	errDuplicateEntry       = 1062
	errTableFull            = 1114
	errTableDenied          = 1142
	errColumnDenied         = 1143
	errNoSuchTable          = 1146
	errUnknownCharset       = 1115
	errHostDenied           = 1130
	errPacketTooLarge       = 1153
	errUnknownVariable      = 1193
	errTooManyUserConns     = 1203
	errLockWaitTimeout      = 1205
	errDeadlock             = 1213 // Galera: also a conflict with another node
	errUserLimit            = 1226 // a limit of the user's account
	errPrivilegeNeeded      = 1227
	errGlobalVariable       = 1229 // cannot be set for a session
	errWrongValue           = 1231
	errWrongType            = 1232
	errFixedVariable        = 1238 // read-only
	errUnknownStatement     = 1243
	errAuthMode             = 1251
	errUnknownCollation     = 1273
	errPreventsStatement    = 1290 // --read-only
	errDataTooLong          = 1406
	errTooManyStatements    = 1461
	errDefinitionChanged    = 1412
	errStatementFormat      = 1665 // the server logs statements, which InnoDB refuses at READ COMMITTED
	errPluginNotLoaded      = 1524
	errInReadOnly           = 1792
	errMustChangePassword   = 1820
	errReadOnlyMode         = 1836
	errPasswordExpired      = 1862
	errNoPassword           = 1698
	errAccountLocked        = 3118 // MySQL
	errInsecure             = 3159 // MySQL: require_secure_transport
	errAccountLockedMariaDB = 4151
	errTiKVTooLarge         = 8004 // TiDB: transaction is too large
	errTiDBRetried          = 8002 // TiDB: a transaction that lost cannot be tried again
	errTiDBCommitFailed     = 8022 // TiDB: the commit failed and was rolled back
	errTiDBTooLarge         = 8025 // TiDB: a row is too large
	errTiDBSchemaChanged    = 8028 // TiDB: the tables changed meanwhile
	errTiDBUnsupported      = 8200 // TiDB does not support this statement of MySQL
	errTiKVWriteConflict    = 9007 // TiDB: another transaction was faster
)

// number returns the server's error number, 0 if err is not the server's.
func number(err error) uint16 {
	var e *mysql.MySQLError
	if errors.As(err, &e) {
		return e.Number
	}
	return 0
}

func isNumber(err error, n uint16) bool { return err != nil && number(err) == n }

// translate wraps err in the sentinel of its number.
func translate(op string, err error) error {
	if err == nil {
		return nil
	}
	if isNumber(err, errNullPosition) {
		err = errReadOnlyServer
	}
	return failure(op, err)
}

// failure returns err as one line that begins with the cause.
func failure(op string, err error) *connect.Failure {
	return connect.NewFailure("mysql: "+op, sentinelOf(err), err, ServerText)
}

func sentinelOf(err error) error {
	if errors.Is(err, mysql.ErrPktTooLarge) {
		return log.ErrTooLarge
	}
	switch number(err) {
	case errTooManyConns, errTooManyUserConns, errUserLimit:
		return log.ErrNoConnection
	case errDiskFull, errTableFull:
		return log.ErrNoSpace
	case errOnWrite, errEngine:
		if systemFull(err) {
			return log.ErrNoSpace
		}
	case errPreventsStatement, errReadOnlyMode, errInReadOnly, errNullPosition:
		return log.ErrReadOnly
	case errPacketTooLarge, errTiKVTooLarge, errTiDBTooLarge:
		return log.ErrTooLarge
	}
	return nil
}

// systemFull reports whether the server passes on the operating system's error 28 (ENOSPC), as in `Got error 28 "No
// space left on device" from storage engine` and `Error writing file '...' (Errcode: 28 ...)`.
func systemFull(err error) bool {
	var e *mysql.MySQLError
	if !errors.As(err, &e) {
		return false
	}
	message := strings.ToLower(e.Message)
	return strings.Contains(message, "error 28 ") || strings.Contains(message, "errcode: 28 ")
}

// outcome is the effect of a write whose statement returned an error, if it was sent outside a transaction or is
// COMMIT. In doubt it is unknown.
type outcome int

const (
	// failed: the server rolled it back or never received it.
	failed outcome = iota
	// conflicted: a row already existed at the position; rolled back.
	conflicted
	// contended: a concurrent transaction interfered. The server reports a rollback, which Galera cannot always
	// guarantee.
	contended
	// unknown: it may have taken effect, or may still do so.
	unknown
)

func outcomeOf(err error) outcome {
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrPktTooLarge) {
		return failed // the driver returns these only if it sent nothing that the server would execute
	}
	switch number(err) {
	case errDuplicateEntry:
		return conflicted
	case errDeadlock, errRecordChanged, errTiDBRetried, errTiDBCommitFailed, errTiDBSchemaChanged, errTiKVWriteConflict:
		return contended
	case errPreventsStatement, errReadOnlyMode, errInReadOnly, errNullPosition, // refused before it began
		errDiskFull, errTableFull, // the statement was rolled back
		errPacketTooLarge, errTiKVTooLarge, errTiDBTooLarge,
		errTooManyConns, errOutOfResources, errTooManyStatements, errUnknownStatement,
		errDatabaseDenied, errDenied, errTableDenied, errColumnDenied, errPrivilegeNeeded,
		errNoDatabase, errUnknownDatabase, errNoSuchTable, errUnknownColumn, errDataTooLong:
		return failed
	}
	return unknown // 1205, 1317, 1047, connection lost, context ended, and all other errors
}

// giveUp reports whether err rules out using the connection again: it is broken, or another server may succeed.
func giveUp(err error) bool {
	switch number(err) {
	case 0, errWsrepNotReady, errPreventsStatement, errReadOnlyMode, errInReadOnly, errNullPosition, errPacketTooLarge:
		return true
	}
	return false
}

// refusesPassword reports whether a server refused to authenticate a connection.
func refusesPassword(err error) bool { return isNumber(err, errDenied) || isNumber(err, errNoPassword) }

// permanents lists errors of opening the log that retrying cannot fix, with advice for the operator.
var permanents = []struct {
	numbers []uint16
	advice  string
}{
	{[]uint16{errDenied, errDatabaseDenied, errTableDenied, errColumnDenied, errPrivilegeNeeded, errNoPassword,
		errHostDenied, errAccountLocked, errAccountLockedMariaDB, errPasswordExpired, errMustChangePassword},
		// MariaDB also reports require_secure_transport this way.
		"the server refuses the user: check name, password, certificate and rights, " +
			"and whether the server demands TLS"},
	{[]uint16{errAuthMode, errPluginNotLoaded},
		"the server's way to authenticate the user is not supported: change the user's authentication plugin"},
	{[]uint16{errStatementFormat}, "the server's binlog_format is STATEMENT: set it to ROW or MIXED"},
	{[]uint16{errInsecure}, "the server demands TLS: use --ca-file, or tls=true in the endpoint"},
	{[]uint16{errUnknownVariable}, "an option of the DSN is neither the driver's nor a variable of the server"},
	{[]uint16{errGlobalVariable, errWrongValue, errWrongType, errFixedVariable, errUnknownCharset, errUnknownCollation},
		"an option of the DSN has a value that the server does not accept"},
}

// permanent returns advice if retrying cannot fix err, an error of opening the log, and otherwise "".
func permanent(err error) string {
	if advice := connect.Permanent(err); advice != "" {
		return advice
	}
	n := number(err)
	for _, p := range permanents {
		if slices.Contains(p.numbers, n) {
			return p.advice
		}
	}
	if errors.Is(err, mysql.ErrNoTLS) {
		return "the server has no TLS: set it up there, or do without --ca-file, --cert-file, --skip-verify and tls"
	}
	for _, refusal := range []error{
		mysql.ErrOldProtocol, mysql.ErrUnknownPlugin, mysql.ErrOldPassword, mysql.ErrCleartextPassword,
		mysql.ErrNativePassword,
	} {
		if errors.Is(err, refusal) {
			return "the server and the options of the DSN do not agree"
		}
	}
	return ""
}

// errReadOnlyServer reports that the server takes no writes and that nothing was written.
var errReadOnlyServer = fmt.Errorf(
	"%w: the server has read_only on: it is a replica or a demoted primary", log.ErrReadOnly)

// errNoStore reports that a row that always exists is missing.
var errNoStore = fmt.Errorf(
	"%w: the row with the store's identity, or the sentinel of the log, is gone", log.ErrCorrupt)
