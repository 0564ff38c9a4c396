package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/stele-db/stele/logstructured"
)

// TestOutcomes checks that only what is certain is called certain.
func TestOutcomes(t *testing.T) {
	server := func(n uint16) error { return fmt.Errorf("wrapped: %w", &mysql.MySQLError{Number: n}) }
	for _, test := range []struct {
		err  error
		want outcome
	}{
		{server(1062), conflicted},
		{server(1213), contended},
		{server(1020), contended},
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
	for n, want := range map[uint16]error{
		1290: logstructured.ErrReadOnly, 1836: logstructured.ErrReadOnly, 1792: logstructured.ErrReadOnly,
		1114: logstructured.ErrNoSpace, 1021: logstructured.ErrNoSpace, 1153: logstructured.ErrTooLarge,
	} {
		if err := translate("append", server(n)); !errors.Is(err, want) {
			t.Errorf("%v is not %v", err, want)
		}
	}
}
