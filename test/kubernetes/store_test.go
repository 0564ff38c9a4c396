package kubernetes

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/test/internal/etcd"
	"github.com/stele-db/stele/test/internal/stele"
)

// The set-ups are named after the API server's store.
const (
	onSQLite   = "sqlite"
	onPostgres = "postgres"
	onMariaDB  = "mariadb"
	onReplicas = "replicas"
	onEtcd     = "etcd"
)

// progressNotify is a setting of an etcd for Kubernetes, and the default of Stele. It keeps the caches of unchanged
// resources fresh. Without it the API server could not compare them with the store after a compaction.
const progressNotify = "--watch-progress-notify-interval=5s"

// server is one process of the store.
type server interface {
	Launch(ctx context.Context) error
	Kill() error
	Logs() string
}

// store is the API server's store: one server, or several replicas.
type store struct {
	servers []server
	// targets are the addresses of the servers.
	targets []string
}

// startStore starts the store of a set-up. Its servers stop at the end of the test.
func startStore(t *testing.T, setup string) *store {
	t.Helper()
	s, n, endpoint := &store{}, 1, ""
	switch setup {
	case onEtcd:
		// etcd syncs its writes, because Stele does.
		e := etcd.Start(t, etcd.Options{Fsync: true, Args: []string{progressNotify}})
		return &store{servers: []server{e}, targets: []string{e.Target}}
	case onSQLite:
		endpoint = "sqlite://" + filepath.Join(t.TempDir(), "state.db")
	case onPostgres:
		endpoint = database.Shared(t, database.Postgres).DSN(t)
	case onMariaDB:
		endpoint = database.Shared(t, database.MariaDB).DSN(t)
	case onReplicas:
		n, endpoint = 3, database.Shared(t, database.Postgres).DSN(t)
	default:
		t.Fatalf("no set-up is called %q", setup)
	}
	for i := range n {
		r := stele.New(t, stele.Options{Endpoint: endpoint, Plain: true, Args: []string{
			"--name", fmt.Sprintf("replica-%d", i+1),
		}})
		s.servers, s.targets = append(s.servers, r), append(s.targets, r.Target)
	}
	if err := s.launch(t.Context()); err != nil {
		t.Fatalf("start the store: %v", err)
	}
	return s
}

// urls returns the value of --etcd-servers.
func (s *store) urls() string {
	return "http://" + strings.Join(s.targets, ",http://")
}

// launch starts all servers.
func (s *store) launch(ctx context.Context) error {
	return s.each(func(one server) error { return one.Launch(ctx) })
}

// kill ends all servers as kill -9 does.
func (s *store) kill() error { return s.each(server.Kill) }

func (s *store) each(do func(server) error) error {
	var g errgroup.Group
	for _, one := range s.servers {
		g.Go(func() error { return do(one) })
	}
	return g.Wait()
}

// logs returns the servers' output.
func (s *store) logs() string {
	var text strings.Builder
	for i, one := range s.servers {
		fmt.Fprintf(&text, "--- %s\n%s\n", s.targets[i], one.Logs())
	}
	return text.String()
}
