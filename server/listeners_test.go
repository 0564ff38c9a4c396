package server

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/stele-db/stele/pkg/tls/tlstest"
	"github.com/stele-db/stele/server/transport"
)

func TestUnixSocketIsReplacedAndRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stele.sock")
	// A process that was killed leaves its socket behind.
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	_ = stale.Close()

	r := serve(t, func(o *Options) { o.Listeners = []*transport.Listener{listen(t, "unix://"+path, nil)} })
	info, err := os.Stat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := pb.NewKVClient(r.dial(t)).Put(within(t), &pb.PutRequest{Key: key}); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn,
		error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}}
	defer client.CloseIdleConnections()
	if _, got := request(t, client, http.MethodGet, "http://stele/health"); got.status != 200 {
		t.Errorf("%+v", got)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

func TestSeveralListeners(t *testing.T) {
	ca := tlstest.New(t)
	r := serve(t, func(o *Options) {
		o.Listeners = []*transport.Listener{
			listen(t, "http://127.0.0.1:0", nil),
			listen(t, "https://127.0.0.1:0", serverCertificates(t, ca, transport.CertificateOptions{})),
		}
	})
	if _, err := pb.NewKVClient(r.dial(t)).Put(within(t), &pb.PutRequest{Key: key}); err != nil {
		t.Error(err)
	}
	conn := dial(t, r.opts.Listeners[1].Addr().String(), secure(clientConfig(t, ca, "alice")))
	list, err := pb.NewClusterClient(conn).MemberList(within(t), &pb.MemberListRequest{Linearizable: true})
	if err != nil {
		t.Fatal(err)
	}
	m := r.watch.member
	same(t, list, &pb.MemberListResponse{Header: headerAt(m, 0), Members: []*pb.Member{{
		ID: m.memberID, Name: "default", ClientURLs: []string{r.opts.Listeners[0].URL(), r.opts.Listeners[1].URL()},
	}}})
}

// connect opens a connection and sends nothing.
func connect(t testing.TB, r *running) net.Conn {
	t.Helper()
	conn, err := net.Dial(r.addr().Network(), r.addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// ended waits until the server has closed a connection.
func ended(t testing.TB, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("the connection is not closed: %v", err)
	}
}

// Clients that connect and send nothing do not delay other clients, and are disconnected.
func TestSilentConnectionsAreClosed(t *testing.T) {
	r := serve(t, func(o *Options) {
		o.MaxHandshakes = 3
		o.HandshakeTimeout = 500 * time.Millisecond
	})
	var silent []net.Conn
	for range 10 {
		silent = append(silent, connect(t, r))
	}
	if _, err := pb.NewKVClient(r.dial(t)).Put(within(t), &pb.PutRequest{Key: key}); err != nil {
		t.Fatal(err)
	}
	for _, conn := range silent {
		ended(t, conn)
	}
}

// The bytes that were read to detect the protocol are passed on, even if they arrive one by one.
func TestProtocolDetectionOfSlowClients(t *testing.T) {
	r := serve(t, nil)
	for _, method := range []string{"GET", "POST", "PUT", "P", "PR", "PROPFIND"} {
		conn := connect(t, r)
		for _, b := range []byte(method + " /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") {
			if _, err := conn.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		_ = resp.Body.Close()
		if want := map[bool]int{true: http.StatusOK,
			false: http.StatusMethodNotAllowed}[method == "GET"]; resp.StatusCode != want {
			t.Errorf("%s: %d", method, resp.StatusCode)
		}
	}
}
