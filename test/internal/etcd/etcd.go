// Package etcd runs an embedded etcd on loopback: the reference that Stele's answers are compared with.
package etcd

import (
	"net/url"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/stele-db/stele/test/internal/port"
)

// Options configure an embedded etcd. The zero value is etcd's own defaults in a directory of the test.
type Options struct {
	// Dir holds the data; empty is a directory that is removed after the test.
	Dir string
	// Configure changes the configuration before the start; nil changes nothing.
	Configure func(*embed.Config)
	// Fsync makes commits durable. The reference of a comparison does not need it, a benchmark does.
	Fsync bool
}

// Server is a running etcd of one member.
type Server struct {
	// Target is the client address for grpc and clientv3.
	Target string
	// Etcd is the embedded server.
	Etcd *embed.Etcd
}

// Start runs etcd until the end of the test and returns once it serves.
func Start(t testing.TB, opts Options) *Server {
	t.Helper()
	dir := opts.Dir
	if dir == "" {
		dir = t.TempDir()
	}
	client := url.URL{Scheme: "http", Host: port.Free(t)}
	peer := url.URL{Scheme: "http", Host: port.Free(t)}

	cfg := embed.NewConfig()
	cfg.Dir = dir
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	cfg.UnsafeNoFsync = !opts.Fsync
	if opts.Configure != nil {
		opts.Configure(cfg)
	}
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatalf("start etcd: %v", err)
	}
	t.Cleanup(e.Close)
	select {
	case <-e.Server.ReadyNotify():
	case err := <-e.Err():
		t.Fatalf("etcd ended before it was ready: %v", err)
	case <-time.After(60 * time.Second):
		t.Fatal("etcd was not ready in 60 s")
	}
	return &Server{Target: client.Host, Etcd: e}
}
