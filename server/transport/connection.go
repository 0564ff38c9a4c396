package transport

import (
	"crypto/tls"
	"net"
	"sync"
)

// Observer follows one connection. Its methods may be called concurrently.
type Observer interface {
	// Wrote is called after n bytes were written to the connection, below TLS.
	Wrote(n int)
	// Closed is called once, when the server has closed the connection.
	Closed()
}

// connection is one client's connection, below TLS. The dispatcher creates it, and gRPC and net/http serve it.
type connection struct {
	net.Conn
	once sync.Once
	// places are the places of which the connection occupies one.
	places places
	// observer is nil if nothing follows the connection.
	observer Observer
}

func (c *connection) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if c.observer != nil {
		c.observer.Wrote(n)
	}
	return n, err
}

// Close closes the connection and frees its place for another one.
func (c *connection) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		if c.observer != nil {
			c.observer.Closed()
		}
		c.places.leave()
	})
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

// tlsStateOf returns nil for plain text.
func tlsStateOf(conn net.Conn) *tls.ConnectionState {
	if g, ok := conn.(*greeting); ok {
		conn = g.Conn
	}
	secured, ok := conn.(*tls.Conn)
	if !ok {
		return nil
	}
	state := secured.ConnectionState()
	return &state
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
