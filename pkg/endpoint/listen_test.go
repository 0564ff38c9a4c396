package endpoint

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/stele-db/stele/pkg/tls"
	"github.com/stele-db/stele/pkg/tls/tlstest"
)

// k3s names neither database nor socket, so that both are in the working directory.
func TestZeroConfig(t *testing.T) {
	for _, endpoint := range []string{"", "sqlite://"} {
		t.Run(endpoint, func(t *testing.T) {
			t.Chdir(shortDir(t))
			var wg sync.WaitGroup
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			etcd, err := Listen(ctx, Config{Endpoint: endpoint, WaitGroup: &wg, Logger: logTo(t.Output())})
			if err != nil {
				t.Fatal(err)
			}
			if wanted := (ETCDConfig{Endpoints: []string{"unix://kine.sock"}}); !reflect.DeepEqual(etcd, wanted) {
				t.Errorf("connect to %+v, want %+v", etcd, wanted)
			}
			info, err := os.Stat("kine.sock")
			if err != nil || info.Mode() != fs.ModeSocket|0o600 {
				t.Errorf("socket: %v, %v", info, err)
			}
			if _, err := os.Stat("db/state.db"); err != nil {
				t.Error(err)
			}
			put(t, clientOf(t, etcd), "/bootstrap", "secret")
			cancel()
			wg.Wait()
			if _, err := os.Stat("kine.sock"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the socket is still there: %v", err)
			}

			etcd, err = Listen(t.Context(), Config{WaitGroup: &wg, Logger: logTo(t.Output())})
			if err != nil {
				t.Fatal(err)
			}
			want(t, clientOf(t, etcd), "/bootstrap", "secret")
			t.Cleanup(wg.Wait) // t.Context has ended by then
		})
	}
}

func TestListeners(t *testing.T) {
	t.Parallel()
	ca := tlstest.New(t)
	cert := ca.Issue(t, "server", "s")
	mutual := cert
	mutual.TrustedCAFile = ca.CAFile()
	dir := shortDir(t)
	for _, test := range []struct {
		listener string
		tls      tls.Config
		prefix   string
	}{
		{"tcp://127.0.0.1:0", tls.Config{}, "http://127.0.0.1:"},
		{"127.0.0.1:0", tls.Config{}, "http://127.0.0.1:"},
		{"http://127.0.0.1:0", tls.Config{}, "http://127.0.0.1:"},
		{"tcp://0.0.0.0:0", tls.Config{}, "http://127.0.0.1:"},
		{"tcp://[::]:0", tls.Config{}, "http://127.0.0.1:"},
		{"unix://" + dir + "/s", tls.Config{}, "unix://" + dir + "/s"},
		{"unix://@" + filepath.Base(dir), tls.Config{}, "unix://@"},
		{"tcp://127.0.0.1:0", cert, "https://127.0.0.1:"},
		{"http://127.0.0.1:0", cert, "https://127.0.0.1:"},
		{"https://127.0.0.1:0", cert, "https://127.0.0.1:"},
		{"unix://" + dir + "/s", cert, "unixs://" + dir + "/s"},
		{"unixs://" + dir + "/s", cert, "unixs://" + dir + "/s"},
		{"https://127.0.0.1:0", mutual, "https://127.0.0.1:"},
	} {
		t.Run(test.listener, func(t *testing.T) {
			s := start(t, Config{Listener: test.listener, ServerTLSConfig: test.tls})
			if len(s.Endpoints) != 1 || !strings.HasPrefix(s.Endpoints[0], test.prefix) ||
				strings.HasSuffix(s.Endpoints[0], ":0") {
				t.Fatalf("endpoints %q, want %s...", s.Endpoints, test.prefix)
			}
			if wanted := (tls.Config{CAFile: test.tls.CAFile}); s.TLSConfig != wanted {
				t.Errorf("TLS %+v, want %+v", s.TLSConfig, wanted)
			}
			if test.tls.TrustedCAFile != "" {
				stranger := s.client()
				if err := stranger.Put(within(t), "k", nil); err == nil {
					t.Error("a client without a certificate was let in")
				}
				s.TLSConfig.CertFile, s.TLSConfig.KeyFile = cert.CertFile, cert.KeyFile
			}
			put(t, s.client(), "k", "v")
		})
	}
}

func TestExternalDatastore(t *testing.T) {
	files := tls.Config{CAFile: "ca", CertFile: "cert", KeyFile: "key"}
	t.Chdir(shortDir(t))
	for _, endpoint := range []string{"http://10.0.0.1:2379", "https://a:2379,https://b:2379,https://c:2379",
		"unix://kine.sock", "unixs://kine.sock"} {
		var wg sync.WaitGroup
		etcd, err := Listen(t.Context(), Config{Endpoint: endpoint, BackendTLSConfig: files, WaitGroup: &wg})
		wg.Wait() // returns at once, because Listen starts nothing
		wanted := ETCDConfig{Endpoints: strings.Split(endpoint, ","), TLSConfig: files, LeaderElect: true}
		if err != nil || !reflect.DeepEqual(etcd, wanted) {
			t.Errorf("%s: %+v, %v", endpoint, etcd, err)
		}
	}
	for _, endpoint := range []string{"http://a:2379,postgres://user:hunter2@b/c", "https://a:2379,"} {
		if _, err := Listen(t.Context(), Config{Endpoint: endpoint}); err == nil ||
			strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
	if there, err := os.ReadDir("."); err != nil || len(there) > 0 {
		t.Errorf("%v, %v", there, err)
	}
}

// After an error nothing is left behind: no socket, no goroutine for which the WaitGroup waits, no metric.
func TestErrorsAreReturned(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	socket := filepath.Join(dir, "s")
	precious := filepath.Join(dir, "precious")
	if err := os.WriteFile(precious, []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	cert := tlstest.New(t).Issue(t, "server")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		ended  bool // the context has ended before the call
		config Config
		want   string
	}{
		"foreign file": {config: Config{Endpoint: "sqlite://" + precious}, want: precious},
		"database":     {config: Config{Endpoint: "nats://user:hunter2@a"}, want: "does not use this kind"},
		"credentials": {config: Config{Endpoint: "postgres://user:hunter2@127.0.0.1:notaport/db"},
			want: "postgres"},
		"listener":       {config: Config{Listener: "ftp://127.0.0.1:0"}, want: "Listener"},
		"no certificate": {config: Config{Listener: "https://127.0.0.1:0"}, want: "certificate"},
		"half of a pair": {config: Config{ServerTLSConfig: tls.Config{CertFile: cert.CertFile}},
			want: "ServerTLSConfig"},
		"clients' CA": {config: Config{ServerTLSConfig: tls.Config{TrustedCAFile: cert.CAFile}},
			want: "TrustedCAFile"},
		"missing file": {config: Config{ServerTLSConfig: tls.Config{CertFile: cert.CertFile, KeyFile: "nowhere"}},
			want: "nowhere"},
		"missing CA": {config: Config{Endpoint: "postgres://user:hunter2@127.0.0.1:1/db",
			BackendTLSConfig: tls.Config{CAFile: "nowhere"}}, want: "nowhere"},
		"negative interval": {config: Config{CompactInterval: -1}, want: "CompactInterval"},
		"jitter": {config: Config{CompactInterval: time.Hour, CompactIntervalJitter: 100},
			want: "CompactIntervalJitter"},
		"retain": {config: Config{CompactMinRetain: -1}, want: "CompactMinRetain"},
		"poll":   {config: Config{PollInterval: -1}, want: "PollInterval"},
		"ended":  {ended: true, want: context.Canceled.Error()},
	} {
		var wg sync.WaitGroup
		config := test.config
		config.WaitGroup, config.Logger = &wg, logTo(t.Output())
		if config.Listener == "" {
			config.Listener = "unix://" + socket
		}
		if config.Endpoint == "" {
			config.Endpoint = "sqlite://" + filepath.Join(dir, "state.db")
		}
		ctx := t.Context()
		if test.ended {
			ctx = ended
		}
		_, err := Listen(ctx, config)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v; want %s", name, err, test.want)
		}
		wg.Wait()
		if _, err := os.Stat(socket); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: left the socket behind: %v", name, err)
		}
	}
	if content, err := os.ReadFile(precious); err != nil || string(content) != "no database" {
		t.Errorf("the foreign file is now %q, %v", content, err)
	}
}

// The intervals reach the store.
func TestNotifyAndCompactInterval(t *testing.T) {
	t.Parallel()
	s := start(t, Config{Listener: "tcp://127.0.0.1:0", NotifyInterval: 50 * time.Millisecond,
		CompactInterval: 20 * time.Millisecond, CompactIntervalJitter: 10, CompactMinRetain: 1})
	c := s.client()
	for range 5 {
		put(t, c, "k", "v")
	}
	stream, err := pb.NewWatchClient(dial(t, s)).Watch(within(t))
	if err != nil {
		t.Fatal(err)
	}
	create := &pb.WatchCreateRequest{Key: []byte("k"), ProgressNotify: true}
	request := &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create}}
	if err := stream.Send(request); err != nil {
		t.Fatal(err)
	}
	for progress := false; !progress; {
		r, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		progress = !r.Created && len(r.Events) == 0
	}
	for ctx := within(t); ; {
		_, err := c.List(ctx, "k", 2)
		if errors.Is(err, rpctypes.ErrCompacted) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.List(within(t), "k", 5); err != nil {
		t.Errorf("what is to be retained: %v", err)
	}
}

// dial connects to a datastore on TCP.
func dial(t *testing.T, s *started) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(strings.TrimPrefix(s.Endpoints[0], "http://"),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Two datastores of one process on the same database are two replicas; on two databases they are independent.
func TestListenTwice(t *testing.T) {
	t.Parallel()
	endpoint := "sqlite://" + filepath.Join(t.TempDir(), "state.db")
	a, b, other := start(t, Config{Endpoint: endpoint}), start(t, Config{Endpoint: endpoint}), start(t, Config{})
	put(t, a.client(), "k", "from a")
	want(t, b.client(), "k", "from a")
	put(t, b.client(), "k", "from b")
	want(t, a.client(), "k", "from b")
	put(t, other.client(), "k", "other")
	want(t, a.client(), "k", "from b")
	a.stop()
	put(t, b.client(), "k", "alone")
}

// The members of a cluster have different URLs although each of them listens on the same relative path.
func TestAdvertisedURLIsAbsolute(t *testing.T) {
	dir := shortDir(t)
	t.Chdir(dir)
	start(t, Config{Listener: KineSocket})
	conn, err := grpc.NewClient("unix:kine.sock", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	members, err := pb.NewClusterClient(conn).MemberList(within(t), &pb.MemberListRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if urls := members.Members[0].ClientURLs; !slices.Equal(urls, []string{"unix://" + dir + "/kine.sock"}) {
		t.Errorf("advertises %q", urls)
	}
}

func TestNegativePoolCountsAsNotSaid(t *testing.T) {
	t.Parallel()
	negative := ConnectionPoolConfig{MaxOpen: -1, MaxIdle: -1, MaxLifetime: -1, MaxIdleTime: -1}
	if got := normalizePool(negative); got != (ConnectionPoolConfig{}) {
		t.Errorf("%+v", got)
	}
	said := ConnectionPoolConfig{MaxOpen: 7, MaxIdle: 3, MaxLifetime: time.Hour, MaxIdleTime: time.Minute}
	if got := normalizePool(said); got != said {
		t.Errorf("%+v", got)
	}
}

// listenUnix returns a listener that does not belong to Stele.
func listenUnix(t *testing.T, path string) *net.UnixListener {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}
