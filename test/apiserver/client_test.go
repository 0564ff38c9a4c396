package apiserver

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/kubernetes"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/feature"

	"github.com/stele-db/stele/test/apiserver/internal/server"
)

// servers has the servers that tests share. The first test that needs one starts it; it lives as long as the top-level
// test.
type servers struct {
	t        *testing.T
	mu       sync.Mutex
	shared   *server.Server
	notified *server.Server
}

// of returns a server of a kind. Tests that share a server have different prefixes.
func (s *servers) of(which serverKind, t *testing.T) *server.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch which {
	case fresh:
		return server.Start(t, server.Options{})
	case notifying:
		if s.notified == nil {
			s.notified = server.Start(s.t, server.Options{Args: []string{"--watch-progress-notify-interval=1s"}})
		}
		return s.notified
	default:
		if s.shared == nil {
			s.shared = server.Start(s.t, server.Options{})
		}
		return s.shared
	}
}

// serverKind is a test's requirement of the server.
type serverKind int

const (
	// shared is any server, at any revision, to which no other client writes meanwhile.
	shared serverKind = iota
	// fresh is at revision 1.
	fresh
	// notifying sends progress notifications every second.
	notifying
)

// prefixes is the number of prefixes that tests have got.
var prefixes atomic.Int64

// newClient returns a client like the API server's. It has a unique prefix of keys, and counts its reads.
func newClient(t *testing.T, s *server.Server) *kubernetes.Client {
	t.Helper()
	c, err := kubernetes.New(clientv3.Config{
		Endpoints:            s.Endpoints,
		DialTimeout:          20 * time.Second,
		DialKeepAliveTime:    30 * time.Second,
		DialKeepAliveTimeout: 10 * time.Second,
		DialOptions:          []grpc.DialOption{grpc.WithBlock()}, //nolint:staticcheck // as the API server does
		Logger:               zap.NewNop(),
	})
	if err != nil {
		t.Fatalf("client of %s: %v", strings.Join(s.Endpoints, ", "), err)
	}
	t.Cleanup(func() { _ = c.Close() })
	awaitProgressRequests(t, c)

	prefix := fmt.Sprintf("test-%d/", prefixes.Add(1))
	c.KV = prefixed(c.KV, prefix)
	c.Watcher = namespace.NewWatcher(c.Watcher, prefix)
	c.Lease = namespace.NewLease(c.Lease, prefix)
	record(c)
	return c
}

// awaitProgressRequests waits until the API server's code has found that the server supports progress requests. That
// code checks in the background, and serves lists from the store until then.
func awaitProgressRequests(t *testing.T, c *kubernetes.Client) {
	t.Helper()
	feature.DefaultFeatureSupportChecker.CheckClient(t.Context(), c, storage.RequestWatchProgress)
	await(t, "progress requests are supported", func() bool {
		return feature.DefaultFeatureSupportChecker.Supports(storage.RequestWatchProgress)
	})
}

// await waits for a condition, for at most 30 s.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-t.Context().Done():
			t.Fatalf("waiting until %s: %v", what, t.Context().Err())
		case <-deadline:
			t.Fatalf("in 30 s it did not come to pass that %s", what)
		case <-tick.C:
		}
	}
}
