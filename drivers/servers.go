package drivers

import (
	"context"
	"crypto/tls"
	"database/sql/driver"
	"errors"
	"io"
	"net"

	"github.com/go-sql-driver/mysql"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/logstructured"
)

// opened turns what a driver's Open returned into what [Open] returns: no nil pointer in an interface, and a server whose certificate
// is not accepted is a matter of configuration for all of them.
func opened[L logstructured.Log](log L, err error) (logstructured.Log, error) {
	if err == nil {
		return log, nil
	}
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		err = connect.Configuration(err)
	}
	return nil, err
}

// mayPass tells of an error of opening a MySQL server that waiting may mend it: the network's, the end of the attempt, and what the server says
// when it is busy, starting, stopping, read-only for now, or outside of its Galera cluster's majority. What else it says, and what is
// said without asking it, is a matter of configuration.
func mayPass(err error) bool {
	var network net.Error
	var server *mysql.MySQLError
	switch {
	case errors.Is(err, connect.ErrConfiguration):
		return false
	case errors.As(err, &server):
		switch server.Number {
		case 1040, 1041, 1203, 1226, // too many connections, of all or of this user; out of memory
			1053, 1077, 1079, 1080, 1105, // shutting down; not otherwise known
			1047, 1205, 1213, // not in the majority, waited for a lock, deadlock
			1290, 1792, 1836, 1021, 1114: // read-only, disk full
			return true
		}
		return false
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, driver.ErrBadConn), errors.Is(err, mysql.ErrInvalidConn):
		return true
	}
	return errors.As(err, &network)
}
