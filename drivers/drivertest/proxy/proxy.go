package proxy

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Direction is a direction of the bytes of a connection.
type Direction int

// The directions.
const (
	// ToServer is the direction of requests.
	ToServer Direction = iota
	// ToClient is the direction of answers.
	ToClient
	directions
)

// Mode determines how the bytes of one direction are treated.
type Mode int

// The modes.
const (
	// Forward delivers bytes and the end of the stream.
	Forward Mode = iota
	// Hold keeps bytes and the end of the stream until the mode changes.
	Hold
	// Drop discards bytes, including held ones, and keeps the end of the stream.
	Drop
)

// Proxy forwards connections to one server. Its methods may be called concurrently.
type Proxy struct {
	server   string
	listener net.Listener
	wg       sync.WaitGroup

	mu     sync.Mutex
	open   map[*connection]struct{}
	refuse bool
	closed bool
	// The initial modes and delays of new connections.
	modes  [directions]Mode
	delays [directions]time.Duration
}

// Start starts a proxy for a server (host:port) that lives as long as t.
func Start(t testing.TB, server string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{server: server, listener: listener, open: map[*connection]struct{}{}}
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// Address returns the host:port to which clients connect.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Set sets the mode of one direction, on current and later connections.
func (p *Proxy) Set(d Direction, m Mode) {
	p.mu.Lock()
	p.modes[d] = m
	p.mu.Unlock()
	p.Current().Set(d, m)
}

// Delay sets the delay of bytes in one direction, on current and later connections.
func (p *Proxy) Delay(d Direction, delay time.Duration) {
	p.mu.Lock()
	p.delays[d] = delay
	p.mu.Unlock()
	p.Current().Delay(d, delay)
}

// Refuse sets whether new connections are reset at once.
func (p *Proxy) Refuse(refuse bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = refuse
}

// Cut ends all open connections on both sides.
func (p *Proxy) Cut(how Ending) { p.Current().Cut(how) }

// Current returns the open connections, so that they can be treated differently from later ones.
func (p *Proxy) Current() Connections {
	p.mu.Lock()
	defer p.mu.Unlock()
	var open Connections
	for c := range p.open {
		open = append(open, c)
	}
	return open
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(client) })
	}
}

// serve forwards a connection and returns when both directions have ended.
func (p *Proxy) serve(client net.Conn) {
	p.mu.Lock()
	refuse := p.refuse
	p.mu.Unlock()
	if refuse {
		end(client, Reset)
		return
	}
	server, err := net.DialTimeout("tcp", p.server, 10*time.Second)
	if err != nil {
		end(client, Reset)
		return
	}
	p.mu.Lock()
	c := newConnection(client, server, p.modes, p.delays)
	if p.closed {
		c.cut(Reset)
	}
	p.open[c] = struct{}{}
	p.mu.Unlock()
	c.run()
	p.mu.Lock()
	delete(p.open, c)
	p.mu.Unlock()
}

func (p *Proxy) close() {
	// The listener is closed only here, and closing it cannot fail otherwise.
	_ = p.listener.Close()
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.Cut(Reset)
	p.wg.Wait()
}
