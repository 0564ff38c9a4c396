package endpoint

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/stele-db/stele/pkg/tls/tlstest"
	"github.com/stele-db/stele/server"
)

// The services are served on the configured address and on the caller's listeners, with the caller's interceptors.
func TestInjectedServer(t *testing.T) {
	t.Parallel()
	requests := make(chan string, 100)
	injected := grpc.NewServer(grpc.WaitForHandlers(true), grpc.UnaryInterceptor(
		func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			requests <- info.FullMethod
			return handler(ctx, req)
		}))
	path := filepath.Join(shortDir(t), "s")
	s := start(t, Config{GRPCServer: injected, Listener: "unix://" + path})
	put(t, s.client(), "k", "v")
	if method := <-requests; method != pb.KV_Put_FullMethodName {
		t.Errorf("the caller's server saw %s", method)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}

	own := bufconn.Listen(1 << 20)
	served := make(chan error, 1)
	go func() { served <- injected.Serve(own) }()
	conn, err := grpc.NewClient("passthrough:own", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return own.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got, err := pb.NewKVClient(conn).Range(within(t), &pb.RangeRequest{Key: []byte("k")})
	if err != nil || len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "v" {
		t.Errorf("on the caller's listener: %v, %v", got, err)
	}
	if answer, err := healthpb.NewHealthClient(conn).Check(within(t), &healthpb.HealthCheckRequest{}); err != nil ||
		answer.Status != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health: %v, %v", answer, err)
	}
	watch, err := pb.NewWatchClient(conn).Watch(within(t))
	if err != nil {
		t.Fatal(err)
	}
	create := &pb.WatchCreateRequest{Key: []byte("k")}
	request := &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create}}
	if err := watch.Send(request); err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}

	s.stop()
	if err := <-served; err != nil {
		t.Errorf("the caller's Serve: %v", err)
	}
	if _, err := watch.Recv(); err == nil {
		t.Error("the watch goes on")
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket: %v", err)
	}
}

// The caller's server does TLS itself, and the returned configuration uses TLS.
func TestInjectedServerWithTLS(t *testing.T) {
	t.Parallel()
	cert := tlstest.New(t).Issue(t, "s")
	config, err := cert.ServerConfig()
	if err != nil {
		t.Fatal(err)
	}
	for _, listener := range []string{"tcp://127.0.0.1:0", "https://127.0.0.1:0", "unix://" + shortDir(t) + "/s"} {
		s := start(t, Config{GRPCServer: grpc.NewServer(grpc.WaitForHandlers(true),
			grpc.Creds(credentials.NewTLS(config))), Listener: listener, ServerTLSConfig: cert})
		put(t, s.client(), "k", "v")
		s.stop()
	}
}

// Without the check, grpc would exit the process.
func TestInjectedServerThatHasTheServices(t *testing.T) {
	t.Parallel()
	injected := grpc.NewServer(grpc.WaitForHandlers(true))
	mine := health.NewServer()
	mine.SetServingStatus("mine", healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(injected, mine)
	s := start(t, Config{GRPCServer: injected, Listener: "tcp://127.0.0.1:0"})
	registry := prometheus.NewRegistry()
	_, err := tryStart(t, Config{GRPCServer: injected, MetricsRegisterer: registry})
	if !errors.Is(err, server.ErrServiceRegistered) {
		t.Errorf("the second time: %v", err)
	}
	if left := names(t, registry); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	put(t, s.client(), "k", "v")
	request := &healthpb.HealthCheckRequest{Service: "mine"}
	if _, err := healthpb.NewHealthClient(dial(t, s)).Check(within(t), request); err != nil {
		t.Errorf("the caller's health service: %v", err)
	}
}

// The caller may stop its server. The datastore behind it still stops cleanly when its context ends.
func TestInjectedServerStoppedByItsOwner(t *testing.T) {
	t.Parallel()
	injected := grpc.NewServer(grpc.WaitForHandlers(true))
	s := start(t, Config{GRPCServer: injected, Listener: "tcp://127.0.0.1:0"})
	c := s.client()
	put(t, c, "k", "v")
	injected.Stop()
	if _, err := c.Get(within(t), "k"); status.Code(err) != codes.Unavailable {
		t.Errorf("%v", err)
	}
	s.stop()
}
