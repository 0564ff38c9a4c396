package connect

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"unicode"

	"github.com/stele-db/stele/logstructured/log"
)

// Failure is an error of a database. Its text is one line that begins with the cause:
//
//	connection refused, connecting to host=db:5432 user=stele database=kube (postgres: append)
//	password authentication failed for user "stele" (SQLSTATE 28P01), connecting to ... (postgres: connect); check ...
type Failure struct {
	// Operation names the driver and what it did, such as "postgres: append".
	Operation string
	// Sentinel, if not nil, is the error of package log that Err corresponds to. The text does not contain it.
	Sentinel error
	// Err is the error of the driver's library, or an error that wraps it.
	Err error
	// Server is the driver's [ServerText].
	Server ServerText
	// Advice, if not empty, tells the operator what to do.
	Advice string
}

// NewFailure returns a Failure without advice, except if the server refuses further connections.
func NewFailure(operation string, sentinel, err error, server ServerText) *Failure {
	f := &Failure{Operation: operation, Sentinel: sentinel, Err: err, Server: server}
	if errors.Is(f, log.ErrNoConnection) {
		f.Advice = TooManyConnections
	}
	return f
}

// TooManyConnections is the advice to operators when the server refuses a connection.
const TooManyConnections = "the database refuses further connections: raise the limits of the user, the database and " +
	"the server (docs/databases.md says how many), or close connections of other clients"

// Error implements error. It builds the text on demand, because most errors are never shown.
func (f *Failure) Error() string {
	text := Text(f.Err, f.Server) + " (" + f.Operation + ")"
	if f.Advice != "" {
		text += "; " + f.Advice
	}
	return text
}

// Unwrap returns Sentinel, if it is not nil, and Err.
func (f *Failure) Unwrap() []error {
	if f.Sentinel == nil {
		return []error{f.Err}
	}
	return []error{f.Sentinel, f.Err}
}

// ServerText returns the text of an error of the driver's library, with the cause first. It returns false for all other
// errors, including those that wrap one, because its caller unwraps them.
type ServerText func(err error) (string, bool)

// Text returns the text of err in one line that begins with the cause. The text that other errors add to the cause
// follows in parentheses.
func Text(err error, server ServerText) string {
	cause, raw := causeOf(err, server)
	switch {
	case raw != nil:
	case errors.Is(err, context.DeadlineExceeded):
		return oneLine("no answer in time (" + err.Error() + ")")
	default:
		return oneLine(err.Error())
	}
	before, after, _ := strings.Cut(err.Error(), raw.Error())
	text := cause + after
	if before = strings.TrimRight(before, ": "); before != "" {
		text = cause + " (" + before + ")" + after
	}
	return oneLine(text)
}

// causeOf returns the first error in err's tree that comes from the server, the operating system or TLS, and its text.
func causeOf(err error, server ServerText) (cause string, raw error) {
	if text, ok := server(err); ok {
		return text, err
	}
	if text, host, ok := networkText(err); ok {
		return withHost(text, host), err
	}
	switch e := err.(type) { //nolint:errorlint // the tree is walked here
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			if cause, raw = causeOf(inner, server); raw != nil {
				return cause, raw
			}
		}
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return causeOf(inner, server)
		}
	}
	return "", nil
}

// networkText returns the text of an error of the operating system or of TLS. host is the address of the unreachable
// server, if the error has one.
func networkText(err error) (text, host string, ok bool) {
	switch e := err.(type) { //nolint:errorlint // the caller walks the tree
	case *net.DNSError:
		return e.Err + ", looking up " + e.Name, "", true
	case *tls.CertificateVerificationError, tls.RecordHeaderError:
		return e.Error(), "", true
	case *fs.PathError:
		return e.Err.Error() + ", " + e.Op + " " + e.Path, "", true
	case *net.OpError:
		if e.Op == "dial" && e.Addr != nil {
			return systemText(e.Err), e.Addr.String(), true
		}
		if text, _, ok := networkText(e.Err); ok {
			return text, "", true
		}
		return systemText(e.Err) + ", " + strings.TrimSuffix(e.Error(), ": "+e.Err.Error()), "", true
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF { //nolint:errorlint // the caller walks the tree
		return "the server closed the connection", "", true
	}
	return "", "", false
}

// systemText returns the text of err without the name of a system call.
func systemText(err error) string {
	var e *os.SyscallError
	if errors.As(err, &e) {
		return e.Err.Error()
	}
	return err.Error()
}

func withHost(text, host string) string {
	if host == "" {
		return text
	}
	return text + ", connecting to host=" + host
}

// Attempt is a failed attempt to connect to one server.
type Attempt struct {
	// Cause and Host are one-line texts. Host is empty if Cause contains it.
	Cause, Host string
	// Answered reports whether the server refused the attempt, so that another attempt would fail as well.
	Answered bool
}

// NewAttempt returns the attempt that failed with err. host replaces the address in err unless host is empty.
func NewAttempt(err error, host string, server ServerText) Attempt {
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		if text, ok := server(inner); ok {
			return Attempt{Cause: oneLine(text), Host: host, Answered: true}
		}
		if text, at, ok := networkText(inner); ok {
			if host == "" {
				host = at
			}
			return Attempt{Cause: text, Host: host, Answered: Permanent(inner) != ""}
		}
	}
	return Attempt{Cause: Text(err, server), Host: host}
}

// AttemptsText returns a text for attempts that all failed. It groups servers with the same cause, and lists those that
// answered first.
func AttemptsText(attempts []Attempt, user, database string) string {
	attempts = slices.Clone(attempts)
	slices.SortStableFunc(attempts, func(a, b Attempt) int {
		switch {
		case a.Answered == b.Answered:
			return 0
		case a.Answered:
			return -1
		}
		return 1
	})
	var causes []string
	hosts := map[string][]string{}
	for _, a := range attempts {
		if _, ok := hosts[a.Cause]; !ok {
			causes = append(causes, a.Cause)
			hosts[a.Cause] = nil
		}
		if a.Host != "" && !slices.Contains(hosts[a.Cause], a.Host) {
			hosts[a.Cause] = append(hosts[a.Cause], a.Host)
		}
	}
	texts := make([]string, len(causes))
	for i, cause := range causes {
		texts[i] = withHost(cause, strings.Join(hosts[cause], ","))
	}
	text := strings.Join(texts, "; ")
	if user != "" {
		text += " user=" + user
	}
	return text + " database=" + database
}

// oneLine joins the lines of a text and replaces other control characters.
func oneLine(text string) string {
	if strings.IndexFunc(text, unicode.IsControl) < 0 {
		return text
	}
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(strings.Map(func(r rune) rune {
			if unicode.IsControl(r) {
				return ' '
			}
			return r
		}, line))
		if line != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}
