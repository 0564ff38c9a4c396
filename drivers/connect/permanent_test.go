package connect

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
)

func TestPermanent(t *testing.T) {
	dial := func(err error) error { return fmt.Errorf("connect: %w", &net.OpError{Op: "dial", Err: err}) }
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"none":                   {nil, false},
		"refused":                {dial(syscall.ECONNREFUSED), false},
		"no route":               {dial(syscall.EHOSTUNREACH), false},
		"no socket":              {dial(syscall.ENOENT), false},
		"closed":                 {io.ErrUnexpectedEOF, false},
		"unknown host":           {dial(&net.DNSError{IsNotFound: true}), false}, // bounded by the caller
		"socket of another user": {dial(syscall.EACCES), true},
		"invalid port":           {dial(&net.AddrError{Err: "invalid port"}), true},
		"certificate not trusted": {fmt.Errorf("tls: %w",
			&tls.CertificateVerificationError{Err: errors.New("unknown authority")}), true},
		"no TLS": {tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"},
			true},
		"client certificate": {&net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")},
			true},
		"failure within handshake": {&net.OpError{Op: "remote error", Err: errors.New("tls: internal error")}, false},
	} {
		if got := Permanent(test.err); (got != "") != test.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestUnknownHost(t *testing.T) {
	unknown := &net.OpError{Op: "dial", Err: &net.DNSError{IsNotFound: true}}
	failing := &net.OpError{Op: "dial", Err: &net.DNSError{IsTemporary: true}}
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"none":                 {nil, false},
		"unknown":              {fmt.Errorf("open: %w", unknown), true},
		"resolver fails":       {failing, false},
		"all":                  {errors.Join(unknown, unknown), true},
		"another may answer":   {errors.Join(unknown, refused), false},
		"another may resolve":  {errors.Join(failing, unknown), false},
		"with a sentinel":      {fmt.Errorf("%w: %w", errors.New("no connection"), unknown), true},
		"nothing of a network": {errors.New("damaged"), false},
	} {
		if got := UnknownHost(test.err); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
