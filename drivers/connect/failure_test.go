package connect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"
	"testing"
)

var errSaid = errors.New("ERROR: no\nroom")

func said(err error) (string, bool) { return "no\nroom", err == errSaid } //nolint:errorlint // Text walks the tree

func TestTextBeginsWithTheCause(t *testing.T) {
	address := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	refusal := os.NewSyscallError("connect", syscall.ECONNREFUSED)
	refused := &net.OpError{Op: "dial", Net: "tcp", Addr: address, Err: refusal}
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"server": {errSaid, "no; room"},
		"chain": {fmt.Errorf("read: %w", fmt.Errorf("page 3: %w (again)", errSaid)),
			"no; room (read: page 3) (again)"},
		"context ended": {fmt.Errorf("%w: %w", context.DeadlineExceeded, errSaid),
			"no; room (context deadline exceeded)"},
		"context alone": {fmt.Errorf("timeout: %w", context.DeadlineExceeded),
			"no answer in time (timeout: context deadline exceeded)"},
		"refused": {fmt.Errorf("open: %w", refused),
			"connection refused, connecting to host=127.0.0.1:1 (open)"},
		"unknown host": {&net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "db"}},
			"no such host, looking up db"},
		"reset": {&net.OpError{Op: "read", Net: "tcp", Addr: address,
			Err: os.NewSyscallError("read", syscall.ECONNRESET)}, "connection reset by peer, read tcp 127.0.0.1:1"},
		"closed": {fmt.Errorf("receive: %w", io.ErrUnexpectedEOF),
			"the server closed the connection (receive)"},
		"file": {&fs.PathError{Op: "open", Path: "/x", Err: syscall.EACCES},
			"permission denied, open /x"},
		"joined":             {errors.Join(errSaid, errors.New("close")), "no; room; close"},
		"unknown, of lines":  {errors.New("one:\n\ttwo\n\ttwo\x00\r\n\x00"), "one:; two"},
		"nothing to reorder": {errors.New("log is closed"), "log is closed"},
	} {
		if got := Text(test.err, said); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestFailure(t *testing.T) {
	sentinel := errors.New("no space")
	var err error = &Failure{Operation: "db: append", Sentinel: sentinel, Err: fmt.Errorf("step: %w", errSaid),
		Server: said, Advice: "make room"}
	if want := "no; room (step) (db: append); make room"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	if !errors.Is(err, sentinel) || !errors.Is(err, errSaid) || errors.Is(&Failure{Err: errSaid}, sentinel) {
		t.Error("it does not wrap what it is made of")
	}
}

func TestAttemptsText(t *testing.T) {
	attempts := []Attempt{
		{Cause: "refused", Host: "a:1"}, {Cause: "refused", Host: "a:1"}, {Cause: "no such host, looking up b"},
		{Cause: "wrong password", Host: "c:1", Answered: true}, {Cause: "refused", Host: "d:1"},
	}
	const want = "wrong password, connecting to host=c:1; refused, connecting to host=a:1,d:1; no such host, looking " +
		"up b user=u database=d"
	if got := AttemptsText(attempts, "u", "d"); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
