package leases

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/stele"
)

const (
	// few is the default number of leases.
	few = 1500
	// writers grant and put, and keepers send keep-alives, at the same time.
	writers, keepers = 64, 8
	// perAppend is the least number of keep-alives per append, at the rate of this test.
	perAppend = 5
)

// number returns the number of leases.
func number(t *testing.T) int {
	t.Helper()
	text := os.Getenv("STELE_TEST_LEASES")
	if text == "" {
		return few
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < keepers {
		t.Fatalf("STELE_TEST_LEASES: %q is not a number of leases", text)
	}
	return n
}

// scale is one run.
type scale struct {
	t      *testing.T
	server *stele.Server
	conn   *grpc.ClientConn
	n      int
	ttl    time.Duration
	ids    []int64
	// granted is true for each lease that exists.
	granted []atomic.Bool
}

func TestScale(t *testing.T) {
	s := &scale{t: t, n: number(t), ttl: 6 * time.Second}
	if s.n > few {
		s.ttl = time.Minute
	}
	s.server = stele.Start(t, stele.Options{Args: []string{"--lease-mode=etcd"}})
	s.conn = connect.GRPC(t, s.server.Target)
	s.ids, s.granted = make([]int64, s.n), make([]atomic.Bool, s.n)
	for i := range s.ids {
		s.ids[i] = int64(i) + 1
	}
	keeping, stop := context.WithCancel(t.Context())
	defer stop()
	var group errgroup.Group
	var answered, slowest atomic.Int64
	// Keep-alives begin with the first grant, so that no lease expires before the last is granted.
	s.keep(keeping, &group, &answered, &slowest)
	s.step("grants", func() { s.grant() })
	s.step("puts", func() { s.put() })
	s.steady(&answered, &slowest)
	s.restart(stop, &group)
	s.expire()
	s.server.Check(t)
}

func (s *scale) step(name string, do func()) {
	s.t.Helper()
	before := measure(s.t, s.server)
	do()
	s.t.Logf("%d %s in %s", s.n, name, measure(s.t, s.server).since(before))
}

func (s *scale) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *scale) grant() {
	lease := pb.NewLeaseClient(s.conn)
	s.must(forAll(s.t.Context(), s.n, writers, func(ctx context.Context, i int) error {
		_, err := lease.LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: s.ids[i], TTL: int64(s.ttl / time.Second)})
		s.granted[i].Store(err == nil)
		return err
	}))
}

func (s *scale) put() {
	kv := pb.NewKVClient(s.conn)
	s.must(forAll(s.t.Context(), s.n, writers, func(ctx context.Context, i int) error {
		_, err := kv.Put(ctx, &pb.PutRequest{Key: key(i), Value: []byte("held"), Lease: s.ids[i]})
		return err
	}))
}

func key(i int) []byte { return fmt.Appendf(nil, "session/%07d", i) }

var everything = &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, CountOnly: true}

// keep lets clients keep all leases alive, each its own.
func (s *scale) keep(ctx context.Context, group *errgroup.Group, answered, slowest *atomic.Int64) {
	for i := range keepers {
		from, to := i*s.n/keepers, (i+1)*s.n/keepers
		k := keeper{
			conn: connect.GRPC(s.t, s.server.Target), ids: s.ids[from:to], granted: s.granted[from:to], ttl: s.ttl,
			answered: answered, slowest: slowest,
		}
		group.Go(func() error { return k.run(ctx) })
	}
}

// steady looks at the database while nothing happens but keep-alives.
func (s *scale) steady(answered, slowest *atomic.Int64) {
	from := answered.Load()
	slowest.Store(0)
	before := measure(s.t, s.server)
	want := from + int64(s.n)
	s.await(s.ttl, "each lease is kept alive once more", func() bool { return answered.Load() >= want })
	after, kept := measure(s.t, s.server), answered.Load()-from
	s.t.Logf("%d keep-alives by %d clients, each answered within %v, in %s", kept, keepers,
		time.Duration(slowest.Load()).Round(time.Millisecond), after.since(before))
	if appends := after.appends - before.appends; appends > float64(kept)/perAppend {
		s.t.Errorf("%.0f appends for %d keep-alives", appends, kept)
	}
	s.wantKeys(s.n)
}

func (s *scale) wantKeys(n int) {
	s.t.Helper()
	got, err := pb.NewKVClient(s.conn).Range(s.t.Context(), everything)
	s.must(err)
	if got.Count != int64(n) {
		s.t.Errorf("%d keys, want %d", got.Count, n)
	}
}

// restart stops the clients and the server, and starts the server.
func (s *scale) restart(stop func(), group *errgroup.Group) {
	stop()
	s.must(group.Wait())
	s.must(s.server.Kill())
	start := time.Now()
	s.must(s.server.Exec())
	s.must(s.server.WaitReady(s.t.Context()))
	s.t.Logf("restarted in %v, %.0f MiB of resident memory", time.Since(start).Round(time.Millisecond),
		memory(s.t, s.server)/(1<<20))
	s.conn = connect.GRPC(s.t, s.server.Target)
	leases, err := pb.NewLeaseClient(s.conn).LeaseLeases(s.t.Context(), &pb.LeaseLeasesRequest{})
	s.must(err)
	if len(leases.Leases) != s.n {
		s.t.Errorf("%d leases after the restart, want %d", len(leases.Leases), s.n)
	}
	s.wantKeys(s.n)
}

// expire waits until all leases have expired, each in a revision of its own.
func (s *scale) expire() {
	kv := pb.NewKVClient(s.conn)
	at, err := kv.Range(s.t.Context(), everything)
	s.must(err)
	var first, last time.Time
	var before, after figures
	count, revision := at.Count, at.Header.Revision
	s.await(s.ttl+2*time.Minute, "all leases have expired", func() bool {
		now := measure(s.t, s.server)
		got, err := kv.Range(s.t.Context(), everything)
		s.must(err)
		if first.IsZero() && got.Count == count {
			before = now
		} else if first.IsZero() {
			first = time.Now()
		}
		last, after, revision = time.Now(), measure(s.t, s.server), got.Header.Revision
		return got.Count == 0
	})
	s.t.Logf("%d leases with a key each expired within %v, in %d revisions; including the preparation, %s", s.n,
		last.Sub(first).Round(10*time.Millisecond), revision-at.Header.Revision, after.since(before))
	if revision-at.Header.Revision != int64(s.n) {
		s.t.Errorf("%d revisions, want one for each of %d leases", revision-at.Header.Revision, s.n)
	}
	leases, err := pb.NewLeaseClient(s.conn).LeaseLeases(s.t.Context(), &pb.LeaseLeasesRequest{})
	s.must(err)
	if len(leases.Leases) != 0 {
		s.t.Errorf("%d leases are left", len(leases.Leases))
	}
}

// await waits until met returns true.
func (s *scale) await(within time.Duration, name string, met func() bool) {
	s.t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for !met() {
		select {
		case <-deadline.C:
			s.t.Fatalf("not within %v: %s", within, name)
		case <-ticker.C:
		}
	}
}
