package transport

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// Listener is a bound address to serve on.
type Listener struct {
	net.Listener
	scheme string
	certs  *Certificates
}

// URL returns the URL of the listener. Its port is the chosen one if port 0 was requested.
func (l *Listener) URL() string { return l.scheme + "://" + l.Addr().String() }

// Secure reports whether the listener uses TLS.
func (l *Listener) Secure() bool { return l.certs != nil }

// Listen binds an address, so that an address in use is detected before anything else is started.
//
//   - http://host:port and unix://path use plain text, whether or not certs is nil;
//   - https://host:port and unixs://path use TLS and need certs;
//   - tcp://host:port and host:port use TLS if certs is not nil.
//
// The path of a Unix socket may be relative; @name is in Linux's abstract namespace. Only the owner may connect to the
// socket (mode 0600). Listen replaces a stale socket, but not one on which a process still listens, and Close removes
// the socket.
func Listen(ctx context.Context, address string, certs *Certificates) (*Listener, error) {
	scheme, rest, found := strings.Cut(address, "://")
	if !found {
		scheme, rest = "tcp", address
	}
	network := "tcp"
	switch scheme {
	case "tcp":
		scheme = "http"
		if certs != nil {
			scheme = "https"
		}
	case "http", "https":
	case "unix", "unixs":
		network = "unix"
	default:
		return nil, fmt.Errorf("cannot listen on %q: the scheme must be http, https, tcp, unix or unixs", address)
	}
	if network == "tcp" {
		rest = strings.TrimSuffix(rest, "/")
	}
	if rest == "" {
		return nil, fmt.Errorf("cannot listen on %q: there is no address in it", address)
	}
	secure := strings.HasSuffix(scheme, "s")
	if secure && certs == nil {
		return nil, fmt.Errorf("cannot listen on %q: it needs a certificate and its key", address)
	}
	if !secure {
		certs = nil
	}
	l, err := bind(ctx, network, rest)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %q: %w", address, reasonOf(err))
	}
	return &Listener{Listener: l, scheme: scheme, certs: certs}, nil
}

func bind(ctx context.Context, network, address string) (net.Listener, error) {
	var lc net.ListenConfig
	if network != "unix" || strings.HasPrefix(address, "@") {
		return lc.Listen(ctx, network, address)
	}
	if err := removeStale(ctx, address); err != nil {
		return nil, err
	}
	l, err := lc.Listen(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(address, 0o600); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// removeStale removes a Unix socket on which no process listens, as a killed process leaves it behind. If the socket
// disappears in the meantime, the process that listened on it has removed it.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("a file that is not a socket has that name")
	}
	d := net.Dialer{Timeout: time.Second}
	conn, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		_ = conn.Close()
		return syscall.EADDRINUSE
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		err = os.Remove(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// reasonOf removes from an error the operation and address that the caller reports anyway.
func reasonOf(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		err = call.Err
	}
	return err
}
