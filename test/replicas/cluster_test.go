package replicas

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/stele"
)

// measuring reports whether to assert figures.
func measuring() bool { return os.Getenv("STELE_TEST_MEASURE") != "" }

// onEach runs a test on each kind of database, one after the other.
func onEach(t *testing.T, test func(t *testing.T, kind string)) {
	t.Helper()
	for _, kind := range kinds() {
		t.Run(kind, func(t *testing.T) { test(t, kind) })
	}
}

// inParallel runs a test on each kind of database in parallel with other tests, because it mostly waits.
func inParallel(t *testing.T, test func(t *testing.T, kind string)) {
	t.Helper()
	t.Parallel()
	for _, kind := range kinds() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			test(t, kind)
		})
	}
}

func kinds() []string {
	if stele.Kind() != stele.SQLite {
		return []string{stele.Kind()}
	}
	return []string{database.Postgres, database.MariaDB}
}

// bounded returns a context that ends a test that hangs.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// replica is one process and a client of it.
type replica struct {
	*stele.Server
	name   string
	client *clientv3.Client
	conn   *grpc.ClientConn
}

type replicas []*replica

// start starts n replicas at the same time on the database at opts.Endpoint.
func start(t *testing.T, n int, opts stele.Options) replicas {
	t.Helper()
	list := make(replicas, n)
	args := opts.Args
	var wg sync.WaitGroup
	for i := range list {
		name := fmt.Sprintf("replica-%d", i+1)
		opts.Args = append([]string{"--name", name}, args...)
		r := &replica{Server: stele.New(t, opts), name: name}
		r.client, r.conn = connect.Client(t, r.Target), connect.GRPC(t, r.Target)
		list[i] = r
		wg.Go(func() {
			if err := r.Launch(t.Context()); err != nil {
				t.Errorf("start %s: %v", name, err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return list
}

// targets returns the addresses of replicas.
func targets(list replicas) []string {
	var addresses []string
	for _, r := range list {
		addresses = append(addresses, r.Target)
	}
	return addresses
}

func (r *replica) kv() pb.KVClient { return pb.NewKVClient(r.conn) }

// eventually calls condition until it returns nil, and fails the test with its last error at the deadline.
func eventually(t *testing.T, within time.Duration, condition func() error) time.Duration {
	t.Helper()
	begin := time.Now()
	for {
		err := condition()
		if err == nil {
			return time.Since(begin)
		}
		if time.Since(begin) > within {
			t.Fatalf("not within %v: %v", within, err)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
