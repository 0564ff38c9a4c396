package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/pkg/tls/tlstest"
	"github.com/stele-db/stele/server/transport"
)

// allocated returns the number of bytes that were allocated during run, whether or not they have been freed.
func allocated(run func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	run()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// endless is a JSON document with a string that is longer than n bytes.
type endless struct {
	start     *strings.Reader
	remaining int
}

func newEndless(n int) *endless { return &endless{strings.NewReader(`{"key":"`), n} }

func (e *endless) Read(p []byte) (int, error) {
	if n, err := e.start.Read(p); err == nil {
		return n, nil
	}
	if e.remaining == 0 {
		return 0, io.EOF
	}
	n := min(len(p), e.remaining)
	for i := range p[:n] {
		p[i] = 'A'
	}
	e.remaining -= n
	return n, nil
}

// The gateway stops reading a body that is larger than any valid request.
func TestGatewayRefusesLargeBody(t *testing.T) {
	r := serve(t, nil)
	for _, path := range []string{"/v3/kv/put", "/v3beta/kv/put", "/v3/watch", "/v3/lease/keepalive", "/version"} {
		t.Run(path, func(t *testing.T) {
			conn := connect(t, r)
			const size = 64 << 20
			body := newEndless(size)
			got := allocated(func() {
				fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", path, size+8)
				// until the server closes
				_, _ = io.CopyBuffer(struct{ io.Writer }{conn}, struct{ io.Reader }{body}, make([]byte, 32<<10))
				awaitClose(t, conn)
			})
			t.Logf("%d KiB were allocated for %d KiB of body", got>>10, (size-body.remaining)>>10)
			if got > 48<<20 {
				t.Errorf("%d MiB were allocated", got>>20)
			}
			if body.remaining == 0 {
				t.Error("the whole body was read")
			}
		})
	}
}

// awaitClose reads until the server closes the connection.
func awaitClose(t testing.TB, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if _, err := io.Copy(io.Discard, conn); errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("the connection is open: %v", err)
	}
}

// The gateway accepts a message of the largest size that gRPC accepts. A larger one gets etcd's error.
func TestGatewayBodyLimit(t *testing.T) {
	r := serve(t, func(o *Options) { o.MaxRequestBytes = 64 << 10 })
	for size, want := range map[int]string{
		60 << 10:  `"revision"`,
		65 << 10:  "etcdserver: request is too large",
		600 << 10: "received message larger than max",
		2 << 20:   "etcdserver: request is too large",
	} {
		body := `{"key":"eA==","value":"` + base64.StdEncoding.EncodeToString(make([]byte, size)) + `"}`
		resp, err := http.Post("http://"+r.addr().String()+"/v3/kv/put", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || !strings.Contains(string(answer), want) {
			t.Errorf("%d bytes: %d %s, %v; want %s", size, resp.StatusCode, answer, err, want)
		}
	}
}

// The server closes connections whose header, body or preface does not arrive in time.
func TestIncompleteRequestsTimeOut(t *testing.T) {
	ca := tlstest.New(t)
	r := serve(t, func(o *Options) {
		o.HandshakeTimeout, o.BodyTimeout = 300*time.Millisecond, 300*time.Millisecond
		o.Listeners = []*transport.Listener{
			listen(t, "http://127.0.0.1:0", nil),
			listen(t, "https://127.0.0.1:0", serverCertificates(t, ca, transport.CertificateOptions{})),
		}
	})
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	const put = "POST /v3/kv/put HTTP/1.1\r\nHost: x\r\n"
	const get = "GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, start := range map[string]string{
		"nothing":                        "",
		"part of a method":               "PO",
		"part of a header":               put,
		"no body":                        put + "Content-Length: 100\r\n\r\n",
		"part of a body":                 put + "Content-Length: 100\r\n\r\n{",
		"part of a chunk":                put + "Transfer-Encoding: chunked\r\n\r\n10\r\n{",
		"no watch request":               "POST /v3/watch HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n",
		"no body of a refused request":   "POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n",
		"part of the preface":            preface[:10],
		"no settings after the preface":  preface,
		"part of the settings' frame":    preface + "\x00\x00",
		"no body of a request after one": get + put + "Content-Length: 100\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := connect(t, r)
			if _, err := io.WriteString(conn, start); err != nil {
				t.Fatal(err)
			}
			awaitClose(t, conn)
		})
	}
	t.Run("no TLS handshake", func(t *testing.T) {
		t.Parallel()
		conn, err := net.Dial("tcp", r.opts.Listeners[1].Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		ended(t, conn)
	})
}

// The deadline for a request's body does not end a watch.
func TestGatewayWatchOutlivesDeadlines(t *testing.T) {
	r := serve(t, func(o *Options) { o.HandshakeTimeout, o.BodyTimeout = 200*time.Millisecond, 200*time.Millisecond })
	const create = `{"create_request":{"key":"Zm9v"}}`
	conn := connect(t, r)
	fmt.Fprintf(conn, "POST /v3/watch HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(create), create)
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	lines := bufio.NewReader(conn)
	awaitLine(t, lines, `"created":true`)
	for range 3 { // each takes as long as the timeouts
		ended(t, connect(t, r))
	}
	if _, err := pb.NewKVClient(r.dial(t)).Put(within(t),
		&pb.PutRequest{Key: []byte("foo"), Value: []byte("bar")}); err != nil {
		t.Fatal(err)
	}
	awaitLine(t, lines, "YmFy")
}

func awaitLine(t testing.TB, lines *bufio.Reader, want string) {
	t.Helper()
	for {
		line, err := lines.ReadString('\n')
		if strings.Contains(line, want) {
			return
		}
		if err != nil {
			t.Fatalf("no %s: %v", want, err)
		}
	}
}

// The server closes the connection of an HTTP client that does not read its response.
func TestUnreadHTTPResponseTimesOut(t *testing.T) {
	failed := make(chan error, 1)
	limits := httpLimits{body: 1, bodyTimeout: time.Minute, writeTimeout: 50 * time.Millisecond}
	s := httptest.NewServer(limits.handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		piece := make([]byte, 64<<10)
		for {
			if _, err := w.Write(piece); err != nil {
				failed <- err
				return
			}
		}
	})))
	defer s.Close()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	select {
	case err := <-failed:
		t.Log(err)
	case <-time.After(patience):
		t.Error("the handler still waits")
	}
}

// A stream beyond the limit begins when another one has ended.
func TestMaxConcurrentStreams(t *testing.T) {
	r := serve(t, func(o *Options) { o.MaxConcurrentStreams = 3 })
	conn := r.dial(t)
	kv := pb.NewKVClient(conn)
	if _, err := kv.Put(within(t), &pb.PutRequest{Key: key}); err != nil { // the server's settings have arrived
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	for range 3 {
		if _, err := pb.NewWatchClient(conn).Watch(ctx); err != nil {
			t.Fatal(err)
		}
	}
	brief, end := context.WithTimeout(within(t), 100*time.Millisecond)
	defer end()
	if _, err := kv.Put(brief, &pb.PutRequest{Key: key}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a fourth stream: %v", err)
	}
	cancel()
	if _, err := kv.Put(within(t), &pb.PutRequest{Key: key}); err != nil {
		t.Error(err)
	}
}

// The limit applies to header lists after decompression.
func TestHeaderListLimit(t *testing.T) {
	r := serve(t, nil)
	conn := connect(t, r)
	const streams, references = 200, 12_000
	got := allocated(func() {
		var out bytes.Buffer
		out.WriteString("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
		frame(&out, 4, 0, 0, nil)
		for i := range streams {
			// A field of 4,000 bytes enters the table once, and each further byte stands for all of it.
			block := append([]byte{0x40, 1, 'x', 0x7f, 0xa1, 0x1e}, bytes.Repeat([]byte{'v'}, 4000)...)
			block = append(block, bytes.Repeat([]byte{0xbe}, references)...)
			frame(&out, 1, 4|1, uint32(2*i+1), block)
		}
		go func() { _, _ = conn.Write(out.Bytes()) }()
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		resets(t, conn, streams)
	})
	t.Logf("%d KiB were allocated for each of %d requests", got>>10/streams, streams)
	if got/streams > 256<<10 {
		t.Errorf("%d KiB were allocated for each request", got>>10/streams)
	}
}

// frame writes an HTTP/2 frame.
func frame(out *bytes.Buffer, kind, flags byte, stream uint32, payload []byte) {
	out.Write([]byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags,
		byte(stream >> 24), byte(stream >> 16), byte(stream >> 8), byte(stream)})
	out.Write(payload)
}

// resets reads frames until n streams were reset or the server closed the connection.
func resets(t testing.TB, conn net.Conn, n int) {
	t.Helper()
	in := bufio.NewReader(conn)
	var header [9]byte
	for n > 0 {
		if _, err := io.ReadFull(in, header[:]); err != nil {
			t.Fatalf("%d streams were not reset: %v", n, err)
		}
		if _, err := in.Discard(int(header[0])<<16 | int(header[1])<<8 | int(header[2])); err != nil {
			t.Fatal(err)
		}
		if header[3] == 3 {
			n--
		}
	}
}
