package server

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
)

// connection is one client's connection, below TLS. The dispatcher creates it, and gRPC and net/http serve it.
type connection struct {
	net.Conn
	once   sync.Once
	closed func()
	// mail bounds the responses that wait to be sent. It is nil if the server does not bound them.
	mail *mailbox
}

func (c *connection) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if c.mail != nil {
		c.mail.wrote.Add(int64(n))
	}
	return n, err
}

// Close closes the connection and frees its place for another one.
func (c *connection) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.closed)
	return err
}

// connectionOf returns the client's connection below conn. It returns nil for the gateway's pipe, which has none.
func connectionOf(conn net.Conn) *connection {
	for {
		switch c := conn.(type) {
		case *connection:
			return c
		case *greeting:
			conn = c.Conn
		case *tls.Conn:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}

// places bounds the number of open connections.
type places chan struct{}

// take waits for a free place. It returns false if stop is closed first.
func (p places) take(stop <-chan struct{}) bool {
	select {
	case p <- struct{}{}:
		return true
	case <-stop:
		return false
	}
}

// leave frees a place.
func (p places) leave() { <-p }

// limitedListener accepts at most a fixed number of open connections.
type limitedListener struct {
	net.Listener
	places places
	once   sync.Once
	closed chan struct{}
}

// LimitConnections returns a listener on which at most n connections are open at once. Further clients wait in the
// operating system's queue.
func LimitConnections(l net.Listener, n int) net.Listener {
	return &limitedListener{Listener: l, places: make(places, n), closed: make(chan struct{})}
}

// Accept implements [net.Listener].
func (l *limitedListener) Accept() (net.Conn, error) {
	if !l.places.take(l.closed) {
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		l.places.leave()
		return nil, err
	}
	return &connection{Conn: conn, closed: l.places.leave}, nil
}

// Close implements [net.Listener].
func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// connectionKey is the context key of the connection of an HTTP request.
type connectionKey struct{}

// withConnection returns the context of a connection that net/http serves. It adds the TLS state, which net/http does
// not see because the dispatcher has done the handshake.
func withConnection(ctx context.Context, conn net.Conn) context.Context {
	ctx = context.WithValue(ctx, connectionKey{}, connectionOf(conn))
	return withTLSState(ctx, conn)
}
