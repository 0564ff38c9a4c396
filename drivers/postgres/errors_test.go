package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/internal/driver"
	"github.com/stele-db/stele/logstructured/log"
)

func TestErrorsByCode(t *testing.T) {
	for _, test := range []struct {
		severity, code    string
		rolledBack, stale bool
		sentinel          error
	}{
		{"ERROR", "40001", true, false, nil},
		{"ERROR", "40P01", true, false, nil},
		{"ERROR", "40003", false, false, nil},
		{"ERROR", "57014", true, false, nil},
		{"ERROR", "25006", true, true, log.ErrReadOnly},
		{"ERROR", "53100", true, false, log.ErrNoSpace},
		{"ERROR", "53200", true, false, nil},
		{"ERROR", "54000", true, false, nil},
		{"ERROR", "22001", true, false, nil},
		{"ERROR", "26000", true, true, nil},
		{"ERROR", "42501", true, false, nil},
		{"ERROR", "XX000", false, false, nil},
		{"ERROR", "XX001", true, false, log.ErrCorrupt},
		{"ERROR", "58030", false, false, nil},
		{"ERROR", "08007", false, true, nil},
		{"ERROR", "57P01", false, true, nil},
		{"ERROR", "", false, false, nil},
		{"FATAL", "57P01", false, true, nil},
		{"FATAL", "57P03", false, true, nil},
		{"FATAL", "25006", false, true, log.ErrReadOnly},
		{"FATAL", "40001", false, true, nil},
		{"PANIC", "53100", false, true, log.ErrNoSpace},
	} {
		err := fmt.Errorf("wrapped: %w", &pgconn.PgError{Severity: "translated", SeverityUnlocalized: test.severity,
			Code: test.code})
		if got := rolledBack(err); got != test.rolledBack {
			t.Errorf("%s %s: rolled back %v, want %v", test.severity, test.code, got, test.rolledBack)
		}
		if got := staleConnection(err); got != test.stale {
			t.Errorf("%s %s: stale connection %v, want %v", test.severity, test.code, got, test.stale)
		}
		if got := sentinelOf(err); !errors.Is(got, test.sentinel) {
			t.Errorf("%s %s: sentinel %v, want %v", test.severity, test.code, got, test.sentinel)
		}
		if translated := translate("test", err); test.sentinel != nil && !errors.Is(translated, test.sentinel) ||
			!errors.Is(translated, err) {
			t.Errorf("%s %s: translated to %v", test.severity, test.code, translated)
		}
	}
	if rolledBack(io.ErrUnexpectedEOF) || !staleConnection(io.ErrUnexpectedEOF) {
		t.Error("a lost connection is the server's word, or a good one")
	}
	if staleConnection(&pgconn.ConnectError{}) || staleConnection(&stopped{io.EOF}) {
		t.Error("what another connection does not mend is tried again")
	}
	if !errors.Is(translate("test", pgconn.ErrReadOnlyConnection), log.ErrReadOnly) {
		t.Error("no server that takes writes is not read-only")
	}
}

// TestOpenErrors distinguishes the errors that end the process from those that waiting may fix.
func TestOpenErrors(t *testing.T) {
	server := func(code, message string) error {
		return fmt.Errorf("connect: %w", &pgconn.PgError{Severity: "FATAL", Code: code, Message: message})
	}
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"refused": {refused, false},
		// Package endpoint bounds the attempts.
		"unknown host":         {&net.DNSError{Name: "db.example", IsNotFound: true}, false},
		"closed":               {fmt.Errorf("handshake: %w", io.ErrUnexpectedEOF), false},
		"end of the attempt":   {context.DeadlineExceeded, false},
		"starting":             {server("57P03", "the database system is starting up"), false},
		"shutting down":        {server("57P01", "terminating connection"), false},
		"too many connections": {server("53300", "sorry, too many clients already"), false},
		"read-only":            {server("25006", "cannot execute INSERT"), false},
		"disk full":            {server("53100", "no space left"), false},
		"pooler without server": {server("08P01", "server login failed: FATAL the database system is starting up"),
			false},
		"pooler's unknown option":    {server("08P01", "unsupported startup parameter: x"), true},
		"pooler's unknown database":  {server("08P01", "no such database: kube"), true},
		"wrong password":             {server("28P01", "password authentication failed"), true},
		"no entry in pg_hba.conf":    {server("28000", "no pg_hba.conf entry"), true},
		"unknown role":               {server("28000", `role "kube" does not exist`), true},
		"no right":                   {server("42501", "permission denied"), true},
		"unknown option":             {server("42704", "unrecognized configuration parameter"), true},
		"wrong value of an option":   {server("22023", "invalid value for parameter"), true},
		"option only for the server": {server("55P02", "parameter cannot be changed"), true},
		"certificate":                {&tls.CertificateVerificationError{Err: errors.New("expired")}, true},
		"one of several hosts":       {errors.Join(server("28P01", ""), refused), true},
		"a sentence":                 {&connect.OpenFailure{Text: "a newer version changed the tables"}, true},
		"kine":                       {connect.ErrKine, true},
	} {
		if got := openError("connect", test.err); errors.Is(got, connect.ErrConfiguration) != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestServerWithoutTLS connects to a server that refuses TLS and then closes the connection.
func TestServerWithoutTLS(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			if _, err := io.ReadFull(c, make([]byte, 8)); err == nil {
				_, _ = c.Write([]byte("N"))
			}
			_ = c.Close()
		}
	}()
	for mode, want := range map[string]bool{"require": true, "verify-full": true, "prefer": false, "disable": false} {
		_, err := Open(within(t, 10*time.Second), "postgres://u:secret@"+server.Addr().String()+"/d?sslmode="+mode,
			driver.Options{Logger: quiet()})
		if err == nil || errors.Is(err, connect.ErrConfiguration) != want {
			t.Errorf("sslmode=%s: %v", mode, err)
		}
	}
}
