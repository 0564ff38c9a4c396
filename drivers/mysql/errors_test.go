package mysql

import (
	"context"
	"crypto/tls"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/logstructured/log"
)

// TestOutcomes checks that only definite failures are classified as definite.
func TestOutcomes(t *testing.T) {
	server := func(n uint16) error { return fmt.Errorf("wrapped: %w", &mysql.MySQLError{Number: n}) }
	for _, test := range []struct {
		err  error
		want outcome
	}{
		{server(1062), conflicted},
		{server(1213), contended},
		{server(1020), contended},
		{server(9007), contended},
		{server(8002), contended},
		{server(8028), contended},
		{server(8025), failed},
		{server(8501), unknown},
		{server(9001), unknown},
		{server(1205), unknown},
		{server(1317), unknown},
		{server(1047), unknown},
		{server(1180), unknown},
		{server(1105), unknown},
		{server(1053), unknown},
		{mysql.ErrInvalidConn, unknown},
		{io.ErrUnexpectedEOF, unknown},
		{context.Canceled, unknown},
		{context.DeadlineExceeded, unknown},
		{driver.ErrBadConn, failed},
		{mysql.ErrPktTooLarge, failed},
		{server(1290), failed},
		{server(1836), failed},
		{server(1114), failed},
		{server(1146), failed},
	} {
		if got := outcomeOf(test.err); got != test.want {
			t.Errorf("%v: %d, want %d", test.err, got, test.want)
		}
	}
	for message, full := range map[string]bool{
		`Got error 28 "No space left on device" from storage engine InnoDB`:              true,
		`Error writing file './binlog.000001' (Errcode: 28 "No space left on device")`:   true,
		`Error writing file './binlog.000001' (errcode: 28 - No space left on device)`:   true,
		`Got error 168 "Unknown (generic) error from engine" from storage engine InnoDB`: false,
		`Got error 281 "Timeout expired" from storage engine`:                            false,
		`Error writing file './binlog.000001' (Errcode: 5 "Input/output error")`:         false,
	} {
		for _, n := range []uint16{1026, 1030} {
			err := translate("append", &mysql.MySQLError{Number: n, Message: message})
			if errors.Is(err, log.ErrNoSpace) != full {
				t.Errorf("%v, want %v that the disk is full", err, full)
			}
		}
	}
	for n, want := range map[uint16]error{
		1290: log.ErrReadOnly, 1836: log.ErrReadOnly, 1792: log.ErrReadOnly,
		1114: log.ErrNoSpace, 1021: log.ErrNoSpace, 1153: log.ErrTooLarge, 8004: log.ErrTooLarge, 8025: log.ErrTooLarge,
	} {
		if err := translate("append", server(n)); !errors.Is(err, want) {
			t.Errorf("%v is not %v", err, want)
		}
	}
}

// TestOpenErrors distinguishes the errors that an administrator has to fix from those that may be temporary.
func TestOpenErrors(t *testing.T) {
	server := func(number uint16) error { return &mysql.MySQLError{Number: number} }
	refused := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"refused":              {refused, false},
		"unknown host":         {&net.DNSError{Name: "db.example"}, false},
		"closed":               {fmt.Errorf("handshake: %w", io.EOF), false},
		"end of the attempt":   {context.DeadlineExceeded, false},
		"too many connections": {server(1040), false},
		"no majority":          {server(1047), false},
		"read-only":            {server(1290), false},
		"wrong password":       {server(1045), true},
		"one of several hosts": {errors.Join(server(1045), refused), true},
		"no rights":            {server(1142), true},
		"no TLS":               {mysql.ErrNoTLS, true},
		"starting":             {server(1053), false},
		"disk full":            {server(1021), false},
		"TLS demanded":         {server(3159), true},
		"old password":         {mysql.ErrOldPassword, true},
		"certificate":          {&tls.CertificateVerificationError{Err: errors.New("expired")}, true},
		"not TLS":              {tls.RecordHeaderError{}, true},
		"STATEMENT":            {server(1665), true},
		"unknown option":       {server(1193), true},
		"value of an option":   {server(1231), true},
		"type of a value":      {server(1232), true},
		"global variable":      {server(1229), true},
		"fixed variable":       {server(1238), true},
		"character set":        {server(1115), true},
		"collation":            {server(1273), true},
		"no password":          {server(1698), true},
		"no right to database": {server(1044), true},
		"host not allowed":     {server(1130), true},
		"account locked":       {server(3118), true},
		"password expired":     {server(1862), true},
		"plugin":               {server(1524), true},
		"a sentence":           {&connect.OpenFailure{Text: "the tables were migrated by a newer version"}, true},
	} {
		if got := openError(test.err); errors.Is(got, connect.ErrConfiguration) != test.want ||
			!errors.Is(got, test.err) && name != "a sentence" {
			t.Errorf("%s: %v", name, got)
		}
	}
}
