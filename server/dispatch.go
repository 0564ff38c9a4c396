package server

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
)

// dispatcher makes gRPC and HTTP share a port. It detects the protocol of a new connection and hands over the whole
// connection. gRPC connections are served by grpc-go's own transport, which costs far less per request than serving
// gRPC through net/http.
//
// A plain-text protocol is detected by its first bytes: HTTP/2 begins with "PRI", and no HTTP/1 method does. With TLS
// the ALPN offer of the client decides: gRPC clients offer only h2. A client that also offers HTTP/1.1 is an HTTP
// client, such as curl or Prometheus, and is served by net/http, whose handler passes the rare gRPC request of such a
// client to grpc.
type dispatcher struct {
	log    *logrus.Entry
	warner *warner
	// queues are the queues of the current servers: before the store is open, and after.
	queues  atomic.Pointer[queues]
	timeout time.Duration
	max     int
	// places bounds the open connections.
	places places
	// answers bounds the responses that wait to be sent to clients.
	answers *outboxes

	mu sync.Mutex
	// greetings are the connections that have not been handed over, oldest first.
	greetings list.List
	// warned is the time of the last warning that clients wait for a place.
	warned   time.Time
	stopped  bool
	stopping chan struct{}
	// running counts the goroutines, one for each connection in greetings.
	running sync.WaitGroup
}

func newDispatcher(warner *warner, timeout time.Duration, maxGreetings, maxConns int) *dispatcher {
	d := &dispatcher{
		log:      warner.logger,
		warner:   warner,
		timeout:  timeout,
		max:      maxGreetings,
		places:   make(places, maxConns),
		answers:  newOutboxes(processBytes),
		stopping: make(chan struct{}),
	}
	d.queues.Store(newQueues())
	return d
}

// accept takes connections from l until l is closed.
func (d *dispatcher) accept(l *Listener) {
	var cfg *tls.Config
	if l.certs != nil {
		cfg = l.certs.listenerConfig()
	}
	const shortest, longest = 5 * time.Millisecond, time.Second
	pause := shortest
	var warned time.Time
	for d.awaitPlace() {
		conn, err := l.Accept()
		if err != nil {
			d.places.leave()
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// The process is out of descriptors or memory, or the client has disconnected: all are temporary.
			if now := time.Now(); now.Sub(warned) >= time.Minute {
				warned = now
				d.log.WithError(err).Warn("cannot accept a connection; trying again")
			}
			select {
			case <-time.After(pause):
			case <-d.stopping:
				return
			}
			pause = min(pause*2, longest)
			continue
		}
		pause = shortest
		d.greet(d.admit(conn), cfg)
	}
}

// admit wraps conn, for which a place was taken, as a client's connection.
func (d *dispatcher) admit(conn net.Conn) *connection {
	mail := d.answers.open(unaryBytes, streamBytes, func() {
		d.log.WithField("client", conn.RemoteAddr()).Warn("closed a connection whose client does not read its answers: other clients need the memory")
		_ = conn.Close()
	})
	return &connection{Conn: conn, mail: mail, closed: func() {
		d.answers.close(mail)
		d.places.leave()
	}}
}

// awaitPlace waits for a place for another connection. It returns false when the server stops. While it waits, new
// clients wait in the operating system's queue, as with etcd, and each second the oldest connection whose protocol is
// not known yet is closed.
func (d *dispatcher) awaitPlace() bool {
	select {
	case d.places <- struct{}{}:
		return true
	default:
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case d.places <- struct{}{}:
			return true
		case <-d.stopping:
			return false
		case <-tick.C:
			d.full()
		}
	}
}

// full closes a silent connection, and logs a warning at most once a minute.
func (d *dispatcher) full() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closeOldest()
	if now := time.Now(); now.Sub(d.warned) > time.Minute {
		d.warned = now
		d.log.WithField("connections", cap(d.places)).Warn("new clients wait: all connections that the limit of open files allows are in use; raise the limit")
	}
}

// closeOldest closes the oldest connection whose protocol is not known yet. d.mu is held.
func (d *dispatcher) closeOldest() {
	if oldest := d.greetings.Front(); oldest != nil {
		_ = d.greetings.Remove(oldest).(net.Conn).Close()
	}
}

// greet starts a goroutine that detects the protocol of conn. If there are too many such connections, it closes the
// oldest one: a real client sends its first bytes within milliseconds.
func (d *dispatcher) greet(conn net.Conn, cfg *tls.Config) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		_ = conn.Close()
		return
	}
	if d.greetings.Len() >= d.max {
		d.closeOldest()
	}
	entry := d.greetings.PushBack(conn)
	d.running.Add(1)
	go func() {
		defer d.running.Done()
		queue, ready, err := d.protocol(conn, cfg)
		d.mu.Lock()
		d.greetings.Remove(entry)
		d.mu.Unlock()
		if err != nil {
			d.logFailure(conn, err)
			_ = conn.Close()
			return
		}
		queue.push(ready)
	}()
}

// handshakeError is the reason why a TLS handshake failed.
type handshakeError struct{ error }

func (e *handshakeError) Unwrap() error { return e.error }

// logFailure logs why conn is closed before its first request. Only a refused handshake is logged as a warning, because
// port scans and health checks connect and disconnect.
func (d *dispatcher) logFailure(conn net.Conn, err error) {
	var handshake *handshakeError
	if errors.As(err, &handshake) && !left(err) {
		d.warner.warn("handshake", hostOf(conn.RemoteAddr()), "a TLS handshake failed", err, func() logrus.Fields { return nil })
		return
	}
	d.log.WithError(err).WithField("client", conn.RemoteAddr()).Debug("closed a connection before its first request")
}

// left reports whether err means that the connection was closed, by the client or by a server that stops, or was
// silent.
func left(err error) bool {
	for _, target := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, os.ErrDeadlineExceeded, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// protocol returns the queue of the server for conn, and the connection to hand over.
func (d *dispatcher) protocol(conn net.Conn, cfg *tls.Config) (*connQueue, net.Conn, error) {
	if err := conn.SetDeadline(time.Now().Add(d.timeout)); err != nil {
		return nil, nil, err
	}
	queue, ready, err := d.speaks(conn, cfg)
	if err != nil {
		return nil, nil, err
	}
	return queue, ready, conn.SetDeadline(time.Time{})
}

func (d *dispatcher) speaks(conn net.Conn, cfg *tls.Config) (*connQueue, net.Conn, error) {
	g := &greeting{Conn: conn}
	if cfg != nil {
		secured := tls.Server(g, cfg)
		// The connection's deadline bounds the handshake.
		if err := secured.HandshakeContext(context.Background()); err != nil {
			return nil, nil, &handshakeError{err}
		}
		switch proto := secured.ConnectionState().NegotiatedProtocol; {
		case proto == "h2" && !g.speaksHTTP1:
			return d.queues.Load().grpc, secured, nil
		case proto != "":
			return d.queues.Load().http, secured, nil
		}
		g = &greeting{Conn: secured}
	}
	http2, err := g.speaksHTTP2()
	if err != nil {
		return nil, nil, err
	}
	if http2 {
		return d.queues.Load().grpc, g, nil
	}
	return d.queues.Load().http, g, nil
}

// stop closes the connections that have not been handed over, and returns when their goroutines have ended. The servers
// close the queues.
func (d *dispatcher) stop() {
	d.mu.Lock()
	if !d.stopped {
		d.stopped = true
		close(d.stopping)
	}
	for e := d.greetings.Front(); e != nil; e = e.Next() {
		_ = e.Value.(net.Conn).Close()
	}
	d.mu.Unlock()
	d.running.Wait()
}

// greeting is a connection whose first bytes were read to detect its protocol.
type greeting struct {
	net.Conn
	// unread is data that was received and not yet returned by Read.
	unread []byte
	// speaksHTTP1 is set during the TLS handshake if the client offers HTTP/1.1.
	speaksHTTP1 bool
}

// speaksHTTP2 reads until the first bytes show whether the client speaks HTTP/2.
func (g *greeting) speaksHTTP2() (bool, error) {
	const preface = "PRI"
	var buf [len(preface)]byte
	n := 0
	for n < len(buf) && string(buf[:n]) == preface[:n] {
		m, err := g.Conn.Read(buf[n:])
		n += m
		if err != nil {
			return false, err
		}
	}
	g.unread = buf[:n]
	return string(buf[:n]) == preface, nil
}

func (g *greeting) Read(p []byte) (int, error) {
	if len(g.unread) > 0 {
		n := copy(p, g.unread)
		g.unread = g.unread[n:]
		return n, nil
	}
	return g.Conn.Read(p)
}

// queues are the queues of the two servers that share a dispatcher.
type queues struct{ grpc, http *connQueue }

func newQueues() *queues { return &queues{grpc: newConnQueue(), http: newConnQueue()} }

// connQueue is a [net.Listener] whose connections were accepted elsewhere.
type connQueue struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newConnQueue() *connQueue {
	return &connQueue{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// push hands conn to Accept, or closes it if the queue is closed.
func (q *connQueue) push(conn net.Conn) {
	select {
	case q.conns <- conn:
	case <-q.closed:
		_ = conn.Close()
	}
}

func (q *connQueue) Accept() (net.Conn, error) {
	select {
	case conn := <-q.conns:
		return conn, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

func (q *connQueue) Close() error {
	q.once.Do(func() { close(q.closed) })
	return nil
}

func (q *connQueue) Addr() net.Addr { return queueAddr{} }

type queueAddr struct{}

func (queueAddr) Network() string { return "dispatcher" }
func (queueAddr) String() string  { return "dispatcher" }
