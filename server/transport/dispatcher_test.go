package transport

import (
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// acceptHTTP returns the next connection that is handed over to the HTTP server.
func acceptHTTP(t testing.TB, d *Dispatcher) net.Conn {
	t.Helper()
	conn, err := d.Queues().HTTP.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestTooManyHandshakesCloseOldestConnection(t *testing.T) {
	l := listen(t, "http://127.0.0.1:0", nil)
	d, _ := dispatch(t, l, Options{HandshakeTimeout: time.Hour, MaxHandshakes: 2, MaxConnections: 10})
	first := dial(t, l, "")
	eventually(t, "the first is seen", func() bool { return d.waiting() == 1 })
	second := dial(t, l, "")
	eventually(t, "the second is seen", func() bool { return d.waiting() == 2 })
	third := dial(t, l, "")
	awaitEnd(t, first)
	for _, conn := range []net.Conn{second, third} {
		if _, err := conn.Write([]byte("GET")); err != nil {
			t.Fatal(err)
		}
		if got := acceptHTTP(t, d).RemoteAddr().String(); got != conn.LocalAddr().String() {
			t.Errorf("%s was handed over, want %s", got, conn.LocalAddr())
		}
	}
}

func TestStopClosesSilentConnections(t *testing.T) {
	l := listen(t, "http://127.0.0.1:0", nil)
	d, stop := dispatch(t, l, Options{HandshakeTimeout: time.Hour, MaxHandshakes: 10, MaxConnections: 10})
	conn := dial(t, l, "")
	eventually(t, "the connection is seen", func() bool { return d.waiting() == 1 })
	stop()
	awaitEnd(t, conn)
}

// At the limit, the oldest connection whose protocol is not known is closed, and further clients wait.
func TestMaxConnectionsMakesClientsWait(t *testing.T) {
	l := listen(t, "http://127.0.0.1:0", nil)
	d, _ := dispatch(t, l, Options{HandshakeTimeout: time.Hour, MaxHandshakes: 10, MaxConnections: 2})
	silent := dial(t, l, "")
	eventually(t, "the silent connection is seen", func() bool { return d.waiting() == 1 })
	var served []net.Conn
	for range 2 { // the second one waits for the place of the silent connection
		dial(t, l, "GET")
		served = append(served, acceptHTTP(t, d))
	}
	awaitEnd(t, silent)
	dial(t, l, "GET")
	accepted := make(chan net.Conn)
	go func() {
		conn, _ := d.Queues().HTTP.Accept()
		accepted <- conn
	}()
	select {
	case <-accepted:
		t.Error("a third connection is served")
	case <-time.After(50 * time.Millisecond):
	}
	_ = served[0].Close()
	_ = (<-accepted).Close()
	_ = served[1].Close()
}

// counter is an observer that counts.
type counter struct{ written, closed atomic.Int64 }

func (c *counter) Wrote(n int) { c.written.Add(int64(n)) }
func (c *counter) Closed()     { c.closed.Add(1) }

func TestObserverFollowsConnection(t *testing.T) {
	l := listen(t, "http://127.0.0.1:0", nil)
	var c counter
	d, _ := dispatch(t, l, Options{
		HandshakeTimeout: time.Hour, MaxHandshakes: 10, MaxConnections: 10,
		Observe: func(net.Conn) Observer { return &c },
	})
	dial(t, l, "GET")
	conn := acceptHTTP(t, d)
	if got := ObserverOf(HTTPContext(t.Context(), conn)); got != Observer(&c) {
		t.Errorf("the context has the observer %v", got)
	}
	if _, err := conn.Write([]byte("12345")); err != nil {
		t.Fatal(err)
	}
	_, _ = conn.Close(), conn.Close()
	if c.written.Load() != 5 || c.closed.Load() != 1 {
		t.Errorf("%d bytes, closed %d times", c.written.Load(), c.closed.Load())
	}
}
