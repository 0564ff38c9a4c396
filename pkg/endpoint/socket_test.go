package endpoint

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/stele-db/stele/pkg/tls/tlstest"
)

func TestStaleSocketIsReplaced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(shortDir(t), "s")
	killed := listenUnix(t, path)
	killed.SetUnlinkOnClose(false) // as when a process is killed
	if err := killed.Close(); err != nil {
		t.Fatal(err)
	}
	put(t, start(t, Config{Listener: "unix://" + path}).client(), "k", "v")
}

func TestLiveSocketIsNotStolen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(shortDir(t), "s")
	foreign := listenUnix(t, path)
	begin := time.Now()
	if _, err := tryStart(t, Config{Listener: "unix://" + path}); !errors.Is(err, syscall.EADDRINUSE) ||
		!strings.Contains(err.Error(), path) {
		t.Errorf("foreign: %v", err)
	}
	if took := time.Since(begin); took > patience/4 {
		t.Errorf("it took %v to find out", took)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Type() != fs.ModeSocket {
		t.Errorf("%v, %v", info, err)
	}
	if err := foreign.Close(); err != nil {
		t.Fatal(err)
	}

	own := start(t, Config{Listener: "unix://" + path})
	if _, err := tryStart(t, Config{Listener: "unix://" + path}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("own: %v", err)
	}
	put(t, own.client(), "k", "v")
}

// k3s starts a datastore in plain text to read the certificates of the cluster, ends its context, and immediately
// listens on the same path with them.
func TestListenAgainAtOnce(t *testing.T) {
	dir := shortDir(t)
	t.Chdir(dir)
	cert := tlstest.New(t).Issue(t, "kine.sock")
	config := Config{Logger: logTo(t.Output())}
	var last Config
	for round := range 10 {
		var wg sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		last = config
		last.WaitGroup = &wg
		if round%2 == 1 {
			last.ServerTLSConfig = cert
		}
		etcd, err := Listen(ctx, last)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		c := clientOf(t, etcd)
		if round > 0 {
			want(t, c, "round", string(rune('a'+round-1)))
		}
		put(t, c, "round", string(rune('a'+round)))
		cancel()
		t.Cleanup(wg.Wait)
	}
}

// TestListenAgainOnAPort does the same on a port, while a client is watching.
func TestListenAgainOnAPort(t *testing.T) {
	t.Parallel()
	s := start(t, Config{Listener: "tcp://127.0.0.1:0"})
	stream, err := pb.NewWatchClient(dial(t, s)).Watch(within(t))
	if err != nil {
		t.Fatal(err)
	}
	create := &pb.WatchCreateRequest{Key: []byte("k")}
	request := &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create}}
	if err := stream.Send(request); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	s.cancel()
	put(t, start(t, Config{Listener: strings.Replace(s.Endpoints[0], "http", "tcp", 1)}).client(), "k", "v")
	for err == nil { // the watch has ended
		_, err = stream.Recv()
	}
}

// All goroutines have ended when the WaitGroup is done.
func TestNothingIsLeftRunning(t *testing.T) {
	round := func() {
		s := start(t, Config{})
		c := s.client()
		put(t, c, "k", "v")
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		s.stop()
	}
	round() // starts the goroutines that libraries start once
	before := runtime.NumGoroutine()
	for range 5 {
		round()
	}
	deadline := time.Now().Add(patience)
	for runtime.NumGoroutine() > before { // the last goroutine of the client may still be ending
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(),
				buf[:runtime.Stack(buf, true)])
		}
		runtime.Gosched()
	}
}
