package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

// server remembers the lines that it got and answers each with itself in brackets.
type server struct {
	mu    sync.Mutex
	lines []string
	ends  []error
}

func (s *server) run(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for {
					line, err := r.ReadString('\n')
					s.mu.Lock()
					if err != nil {
						s.ends = append(s.ends, err)
					} else {
						s.lines = append(s.lines, line)
					}
					s.mu.Unlock()
					if err != nil {
						return
					}
					fmt.Fprintf(c, "[%s]\n", line[:len(line)-1])
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

func (s *server) got() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprint(s.lines)
}

func (s *server) ended() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]error(nil), s.ends...)
}

func dial(t *testing.T, p *Proxy) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", p.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, bufio.NewReader(c)
}

func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting until %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

func expect(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	if got, err := r.ReadString('\n'); got != want || err != nil {
		t.Fatalf("read %q (%v), want %q", got, err, want)
	}
}

// refused fails when a new connection is served. The reset may come while it is made, or after.
func refused(t *testing.T, p *Proxy) {
	t.Helper()
	c, err := net.Dial("tcp", p.Address())
	if err != nil {
		return
	}
	defer c.Close()
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a connection was not refused: %v", err)
	}
}

// silent fails when something comes.
func silent(t *testing.T, c net.Conn, r *bufio.Reader) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if line, err := r.ReadString('\n'); !errors.As(err, &timeout) || !timeout.Timeout() || line != "" {
		t.Fatalf("read %q (%v), want nothing", line, err)
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
}

func TestForwardAndEnd(t *testing.T) {
	var s server
	p := Start(t, s.run(t))
	c, r := dial(t, p)
	for n := range 100 {
		fmt.Fprintf(c, "%d\n", n)
		expect(t, r, fmt.Sprintf("[%d]\n", n))
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
	await(t, "the connection is forgotten", func() bool { return len(p.Current()) == 0 })
}

// late returns a proxy to s and a client whose second request, of 5 bytes, is held.
func late(t *testing.T, s *server) (*Proxy, net.Conn, Connections) {
	t.Helper()
	p := Start(t, s.run(t))
	c, r := dial(t, p)
	fmt.Fprintln(c, "before")
	expect(t, r, "[before]\n")
	old := p.Current()
	old.Set(ToServer, Hold)
	fmt.Fprintln(c, "late")
	await(t, "the request is held", func() bool { return old.Held(ToServer) == 5 })
	return p, c, old
}

func TestHeldRequestArrivesAfterItsClientIsGone(t *testing.T) {
	for _, how := range []Ending{Close, Reset} {
		var s server
		p, c, old := late(t, &s)
		end(c, how)
		// Meanwhile another connection is served.
		c2, r2 := dial(t, p)
		fmt.Fprintln(c2, "other")
		expect(t, r2, "[other]\n")
		if got := s.got(); got != "[before\n other\n]" {
			t.Fatalf("the server got %q", got)
		}
		old.Set(ToServer, Forward)
		await(t, "the server gets the request", func() bool { return s.got() == "[before\n other\n late\n]" })
		await(t, "the server gets the end", func() bool { return len(s.ended()) == 1 })
		await(t, "the connection is forgotten", func() bool { return len(p.Current()) == 1 })
	}
}

func TestHeldRequestArrivesBeforeTheEnd(t *testing.T) {
	var s server
	_, c, old := late(t, &s)
	fmt.Fprintln(c, "goodbye")
	await(t, "more is held", func() bool { return old.Held(ToServer) == 13 })
	end(c, Close)
	old.Deliver(ToServer, 5)
	await(t, "the server gets the request", func() bool { return s.got() == "[before\n late\n]" })
	if held := old.Held(ToServer); held != 8 || len(s.ended()) != 0 {
		t.Errorf("%d bytes are held, and the server has seen the end of %d connections", held, len(s.ended()))
	}
	old.Set(ToServer, Forward)
	await(t, "the server gets the rest and the end", func() bool {
		return s.got() == "[before\n late\n goodbye\n]" &&
			len(s.ended()) == 1
	})
}

func TestSwallowedAnswer(t *testing.T) {
	var s server
	p := Start(t, s.run(t))
	c, r := dial(t, p)
	p.Set(ToClient, Drop)
	fmt.Fprintln(c, "a")
	await(t, "the server gets the request", func() bool { return s.got() == "[a\n]" })
	silent(t, c, r)
	p.Current().CutClients(Reset)
	if _, err := r.ReadByte(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after a reset: %v", err)
	}
	await(t, "the server gets the end", func() bool { return len(s.ended()) == 1 })
	c2, r2 := dial(t, p)
	fmt.Fprintln(c2, "b")
	silent(t, c2, r2)
	p.Set(ToClient, Forward)
	fmt.Fprintln(c2, "c")
	expect(t, r2, "[c]\n")
}

func TestDroppedRequest(t *testing.T) {
	var s server
	p := Start(t, s.run(t))
	c, r := dial(t, p)
	p.Set(ToServer, Hold)
	fmt.Fprintln(c, "a")
	await(t, "the request is held", func() bool { return p.Current().Held(ToServer) == 2 })
	p.Set(ToServer, Drop)
	await(t, "the request is dropped", func() bool { return p.Current().Held(ToServer) == 0 })
	p.Set(ToServer, Forward)
	fmt.Fprintln(c, "b")
	expect(t, r, "[b]\n")
	if got := s.got(); got != "[b\n]" {
		t.Errorf("the server got %q", got)
	}
}

func TestCut(t *testing.T) {
	for _, how := range []Ending{Close, Reset} {
		var s server
		p := Start(t, s.run(t))
		c, r := dial(t, p)
		fmt.Fprintln(c, "a")
		expect(t, r, "[a]\n")
		p.Cut(how)
		_, err := r.ReadByte()
		if how == Close && !errors.Is(err, io.EOF) || how == Reset && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("cut %d: the client got %v", how, err)
		}
		await(t, "the server gets the end", func() bool { return len(s.ended()) == 1 })
		if err := s.ended()[0]; how == Close && !errors.Is(err, io.EOF) || how == Reset &&
			!errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("cut %d: the server got %v", how, err)
		}
		await(t, "the connection is forgotten", func() bool { return len(p.Current()) == 0 })
	}
}

func TestRefuse(t *testing.T) {
	var s server
	p := Start(t, s.run(t))
	c, r := dial(t, p)
	fmt.Fprintln(c, "a")
	expect(t, r, "[a]\n")
	p.Refuse(true)
	refused(t, p)
	fmt.Fprintln(c, "a")
	expect(t, r, "[a]\n")
	p.Refuse(false)
	c3, r3 := dial(t, p)
	fmt.Fprintln(c3, "b")
	expect(t, r3, "[b]\n")
}

func TestDelay(t *testing.T) {
	var s server
	p := Start(t, s.run(t))
	c, r := dial(t, p)
	p.Delay(ToServer, 60*time.Millisecond)
	p.Delay(ToClient, 40*time.Millisecond)
	start := time.Now()
	fmt.Fprintln(c, "a")
	expect(t, r, "[a]\n")
	if took := time.Since(start); took < 100*time.Millisecond {
		t.Errorf("a round trip took %v", took)
	}
	p.Delay(ToServer, 0)
	p.Delay(ToClient, time.Hour)
	fmt.Fprintln(c, "b")
	await(t, "the server gets the request", func() bool { return s.got() == "[a\n b\n]" })
	p.Delay(ToClient, 0)
	expect(t, r, "[b]\n")
}

func TestServerGone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	p := Start(t, l.Addr().String())
	refused(t, p)
}
