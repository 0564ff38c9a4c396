package proxy

import (
	"net"
	"sync"
	"time"
)

// Ending is how a connection ends.
type Ending int

// The endings.
const (
	// Close says that no more will come (FIN).
	Close Ending = iota
	// Reset tears the connection down (RST): the other side gets an error, and may lose what it has not read yet.
	Reset
)

// Connections is a set of connections. Those that have ended meanwhile do not mind.
type Connections []*connection

// Set chooses what happens to bytes of one direction.
func (cs Connections) Set(d Direction, m Mode) {
	for _, c := range cs {
		c.pipes[d].set(func(p *pipe) { p.mode = m })
	}
}

// Delay lets bytes of one direction arrive later by this much.
func (cs Connections) Delay(d Direction, delay time.Duration) {
	for _, c := range cs {
		c.pipes[d].set(func(p *pipe) { p.delay = delay })
	}
}

// Cut ends the connections on both sides. What was held is lost.
func (cs Connections) Cut(how Ending) {
	for _, c := range cs {
		c.cut(how)
	}
}

// CutClients ends the connections on the client's side only. The server learns of it after it got what is held for it.
func (cs Connections) CutClients(how Ending) {
	for _, c := range cs {
		end(c.client, how)
	}
}

// Held is the number of bytes that came in one direction and were not delivered yet, neither dropped.
func (cs Connections) Held(d Direction) int {
	held := 0
	for _, c := range cs {
		held += c.pipes[d].queued()
	}
	return held
}

// Deliver delivers that many bytes of what is held in one direction of each connection, and goes on holding the rest
// and the end of the stream.
func (cs Connections) Deliver(d Direction, bytes int) {
	for _, c := range cs {
		c.pipes[d].set(func(p *pipe) { p.passing = bytes })
	}
}

// Ended tells whether all of the connections have ended in both directions, on both sides.
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

// connection is one connection of a client and the one to the server that belongs to it.
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

// run returns when both directions have ended and both sides are closed.
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

// end closes a socket. That it was closed before, or that its peer was faster, does not matter.
func end(c net.Conn, how Ending) {
	if tcp, ok := c.(*net.TCPConn); ok && how == Reset {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
