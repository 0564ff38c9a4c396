package connect

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"syscall"
)

// Permanent returns advice if err is an error of the network or of TLS that retrying cannot fix, and otherwise "".
func Permanent(err error) string {
	var (
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		address     *net.AddrError
		op          *net.OpError
	)
	switch {
	case errors.As(err, &certificate):
		return "the certificate of the database server is not accepted: check --ca-file and " +
			"the host name in the endpoint"
	case errors.As(err, &record):
		return "the database server does not speak TLS: check the port, and the TLS options of the endpoint"
	case errors.As(err, &address):
		return "the endpoint's host or port is not valid"
	case errors.Is(err, syscall.EACCES):
		return "the process may not connect: check the rights on the socket of the database server"
	case errors.As(err, &op) && op.Op == "remote error" && !strings.Contains(op.Error(), "internal error"):
		return "the database server refuses the TLS handshake: check --cert-file, --key-file and " +
			"the TLS versions of the server"
	}
	return ""
}

// UnknownHost reports whether err means that no host of the endpoint has an address. With several hosts it returns
// false if any of them failed for another reason, because that host may answer later.
func UnknownHost(err error) bool {
	for err != nil {
		if dns, ok := err.(*net.DNSError); ok { //nolint:errorlint // the tree is walked here
			return dns.IsNotFound
		}
		switch e := err.(type) { //nolint:errorlint // the tree is walked here
		case interface{ Unwrap() []error }:
			return unknownHosts(e.Unwrap())
		case interface{ Unwrap() error }:
			err = e.Unwrap()
		default:
			return false
		}
	}
	return false
}

// unknownHosts ignores errors that do not concern a connection: sentinels, and errors of closing that drivers join.
func unknownHosts(errs []error) bool {
	found := false
	for _, err := range errs {
		var op *net.OpError
		switch {
		case UnknownHost(err):
			found = true
		case errors.As(err, &op):
			return false
		}
	}
	return found
}
