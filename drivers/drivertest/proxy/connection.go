package proxy

import (
	"net"
	"sync"
	"time"
)

// Ending is the way in which a connection ends.
type Ending int

// The endings.
const (
	// Close announces that no more data will come (FIN).
	Close Ending = iota
	// Reset aborts the connection (RST): the peer gets an error and may lose unread data.
	Reset
)

// Connections is a set of connections. Its methods have no effect on connections that have ended.
type Connections []*connection

// Set sets the mode of one direction.
func (cs Connections) Set(d Direction, m Mode) {
	for _, c := range cs {
		c.pipes[d].set(func(p *pipe) { p.mode = m })
	}
}

// Delay sets the delay of bytes in one direction.
func (cs Connections) Delay(d Direction, delay time.Duration) {
	for _, c := range cs {
		c.pipes[d].set(func(p *pipe) { p.delay = delay })
	}
}

// Cut ends the connections on both sides. Held data are lost.
func (cs Connections) Cut(how Ending) {
	for _, c := range cs {
		c.cut(how)
	}
}

// CutClients ends the connections on the client's side only. The server notices after it has received the data held for
// it.
func (cs Connections) CutClients(how Ending) {
	for _, c := range cs {
		end(c.client, how)
	}
}

// Held returns the number of bytes in one direction that were received and neither delivered nor dropped.
func (cs Connections) Held(d Direction) int {
	held := 0
	for _, c := range cs {
		held += c.pipes[d].queued()
	}
	return held
}

// Deliver delivers up to bytes held bytes in one direction of each connection. It continues to hold the rest and the
// end of the stream.
func (cs Connections) Deliver(d Direction, bytes int) {
	for _, c := range cs {
		c.pipes[d].set(func(p *pipe) { p.passing = bytes })
	}
}

// Ended reports whether all connections have ended in both directions and on both sides.
func (cs Connections) Ended() bool {
	for _, c := range cs {
		select {
		case <-c.ended:
		default:
			return false
		}
	}
	return true
}

// connection is a client's connection and the corresponding connection to the server.
type connection struct {
	client, server net.Conn
	pipes          [directions]*pipe
	ended          chan struct{}
}

func newConnection(client, server net.Conn, modes [directions]Mode, delays [directions]time.Duration) *connection {
	c := &connection{client: client, server: server, ended: make(chan struct{})}
	for d := range directions {
		from, to := client, server
		if d == ToClient {
			from, to = server, client
		}
		c.pipes[d] = &pipe{from: from, to: to, mode: modes[d], delay: delays[d], changed: make(chan struct{})}
	}
	return c
}

// run forwards data and returns when both directions have ended and both sides are closed.
func (c *connection) run() {
	var wg sync.WaitGroup
	for _, p := range c.pipes {
		wg.Go(p.read)
		wg.Go(p.write)
	}
	wg.Wait()
	end(c.client, Close)
	end(c.server, Close)
	close(c.ended)
}

func (c *connection) cut(how Ending) {
	for _, p := range c.pipes {
		p.set(func(p *pipe) { p.cut = true })
	}
	end(c.client, how)
	end(c.server, how)
}

// end closes a socket. It ignores errors, because the socket may already be closed.
func end(c net.Conn, how Ending) {
	if tcp, ok := c.(*net.TCPConn); ok && how == Reset {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
