package transport

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

// Dispatcher makes gRPC and HTTP share a port. It detects the protocol of a new connection and hands over the whole
// connection. gRPC connections are served by grpc-go's own transport, which costs far less per request than serving
// gRPC through net/http.
//
// A plain-text protocol is detected by its first bytes: HTTP/2 begins with "PRI", and no HTTP/1 method does. With TLS
// the ALPN offer of the client decides: gRPC clients offer only h2. A client that also offers HTTP/1.1 is an HTTP
// client, such as curl or Prometheus, and is served by net/http, whose handler passes the rare gRPC request of such a
// client to grpc.
type Dispatcher struct {
	opts Options
	// queues are the queues of the current servers: before the store is open, and after.
	queues atomic.Pointer[Queues]
	// places bounds the open connections.
	places places

	mu sync.Mutex
	// greetings are the connections that have not been handed over, oldest first.
	greetings list.List
	// lastWarning is the time of the last warning that clients wait for a place.
	lastWarning time.Time
	stopped     bool
	stopping    chan struct{}
	// running counts the goroutines, one for each connection in greetings.
	running sync.WaitGroup
}

// Options configure a [Dispatcher].
type Options struct {
	// Logger is required.
	Logger *logrus.Entry
	// HandshakeTimeout bounds the time until the protocol of a new connection is known.
	HandshakeTimeout time.Duration
	// MaxHandshakes bounds the connections whose protocol is not known yet; if there are more, the oldest is closed.
	MaxHandshakes int
	// MaxConnections bounds the open connections; further clients wait until a connection is closed.
	MaxConnections int
	// Observe returns the observer of a new connection, which it may close at any time. If it is nil, connections have
	// no observers.
	Observe func(net.Conn) Observer
	// HandshakeFailed is called after the TLS handshake with a client has failed, unless the client disconnected.
	HandshakeFailed func(client net.Addr, err error)
}

// NewDispatcher returns a dispatcher whose connections wait in new queues.
func NewDispatcher(opts Options) *Dispatcher {
	d := &Dispatcher{opts: opts, places: make(places, opts.MaxConnections), stopping: make(chan struct{})}
	d.queues.Store(NewQueues())
	return d
}

// Queues returns the queues of the current servers.
func (d *Dispatcher) Queues() *Queues { return d.queues.Load() }

// SetQueues passes connections whose protocol becomes known from now on to other servers.
func (d *Dispatcher) SetQueues(q *Queues) { d.queues.Store(q) }

// Accept takes connections from l until l is closed.
func (d *Dispatcher) Accept(l *Listener) {
	var cfg *tls.Config
	if l.certs != nil {
		cfg = l.certs.listenerConfig()
	}
	const shortest, longest = 5 * time.Millisecond, time.Second
	pause := shortest
	var lastWarning time.Time
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
			if now := time.Now(); now.Sub(lastWarning) >= time.Minute {
				lastWarning = now
				d.opts.Logger.WithError(err).Warn("cannot accept a connection; trying again")
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
func (d *Dispatcher) admit(conn net.Conn) *connection {
	client := &connection{Conn: conn, places: d.places}
	if d.opts.Observe != nil {
		client.observer = d.opts.Observe(conn)
	}
	return client
}

// awaitPlace waits for a place for another connection. It returns false when the server stops. While it waits, new
// clients wait in the operating system's queue, as with etcd, and each second the oldest connection whose protocol is
// not known yet is closed.
func (d *Dispatcher) awaitPlace() bool {
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
func (d *Dispatcher) full() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closeOldest()
	if now := time.Now(); now.Sub(d.lastWarning) > time.Minute {
		d.lastWarning = now
		d.opts.Logger.WithField("connections", cap(d.places)).
			Warn("new clients wait: all connections that the limit of open files allows are in use; raise the limit")
	}
}

// closeOldest closes the oldest connection whose protocol is not known yet. d.mu is held.
func (d *Dispatcher) closeOldest() {
	if oldest := d.greetings.Front(); oldest != nil {
		_ = d.greetings.Remove(oldest).(net.Conn).Close()
	}
}

// greet starts a goroutine that detects the protocol of conn. If there are too many such connections, it closes the
// oldest one: a real client sends its first bytes within milliseconds.
func (d *Dispatcher) greet(conn net.Conn, cfg *tls.Config) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		_ = conn.Close()
		return
	}
	if d.greetings.Len() >= d.opts.MaxHandshakes {
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
		queue.Push(ready)
	}()
}

// handshakeError is the reason why a TLS handshake failed.
type handshakeError struct{ error }

func (e *handshakeError) Unwrap() error { return e.error }

// logFailure logs why conn is closed before its first request. Only a refused handshake is logged as a warning, because
// port scans and health checks connect and disconnect.
func (d *Dispatcher) logFailure(conn net.Conn, err error) {
	var handshake *handshakeError
	if errors.As(err, &handshake) && !left(err) {
		d.opts.HandshakeFailed(conn.RemoteAddr(), err)
		return
	}
	d.opts.Logger.WithError(err).WithField("client", conn.RemoteAddr()).
		Debug("closed a connection before its first request")
}

// left reports whether err means that the connection was closed, by the client or by a server that stops, or was
// silent.
func left(err error) bool {
	for _, target := range []error{
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, os.ErrDeadlineExceeded, syscall.ECONNRESET, syscall.EPIPE,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// protocol returns the queue of the server for conn, and the connection to hand over.
func (d *Dispatcher) protocol(conn net.Conn, cfg *tls.Config) (*Queue, net.Conn, error) {
	if err := conn.SetDeadline(time.Now().Add(d.opts.HandshakeTimeout)); err != nil {
		return nil, nil, err
	}
	queue, ready, err := d.speaks(conn, cfg)
	if err != nil {
		return nil, nil, err
	}
	return queue, ready, conn.SetDeadline(time.Time{})
}

func (d *Dispatcher) speaks(conn net.Conn, cfg *tls.Config) (*Queue, net.Conn, error) {
	g := &greeting{Conn: conn}
	if cfg != nil {
		secured := tls.Server(g, cfg)
		// The connection's deadline bounds the handshake.
		if err := secured.HandshakeContext(context.Background()); err != nil {
			return nil, nil, &handshakeError{err}
		}
		switch proto := secured.ConnectionState().NegotiatedProtocol; {
		case proto == "h2" && !g.speaksHTTP1:
			return d.Queues().GRPC, secured, nil
		case proto != "":
			return d.Queues().HTTP, secured, nil
		}
		g = &greeting{Conn: secured}
	}
	http2, err := g.speaksHTTP2()
	if err != nil {
		return nil, nil, err
	}
	if http2 {
		return d.Queues().GRPC, g, nil
	}
	return d.Queues().HTTP, g, nil
}

// Stop closes the connections that have not been handed over, and returns when their goroutines have ended. The servers
// close the queues.
func (d *Dispatcher) Stop() {
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
