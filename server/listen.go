package server

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

// URL is how clients reach the listener, with the port that was chosen if 0 was asked for.
func (l *Listener) URL() string { return l.scheme + "://" + l.Addr().String() }

// Secure tells whether the listener speaks TLS.
func (l *Listener) Secure() bool { return l.certs != nil }

// Listen binds an address, so that one that is in use is known before anything else is started.
//
//   - http://host:port and unix://path speak plain text, whether certs is there or not;
//   - https://host:port and unixs://path speak TLS and need certs;
//   - tcp://host:port and host:port speak TLS if certs is there.
//
// The path of a Unix socket may be relative; @name is Linux's abstract namespace. The socket is for its owner only
// (mode 0600), a stale one is replaced, one that somebody serves on is not, and Close removes it.
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

// removeStale removes a Unix socket that nobody serves on: a process that was killed leaves it behind. One that goes
// away meanwhile is removed by whoever served on it until now.
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

// reasonOf leaves out of an error what the caller says anyway.
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
