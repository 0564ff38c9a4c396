package programs

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/target"
)

// TestProxyWatch writes through a proxy while watchers come and go on it, and the server behind it is killed and
// started again. Each watcher must see each event of its range, once and in order.
func TestProxyWatch(t *testing.T) {
	t.Parallel()
	etcd := etcdProgram(t)
	onEach(t, []string{modeEtcd, modeTTL}, func(t *testing.T, server *target.Target) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		w := &proxyWorkload{address: startProxy(t, etcd, server).address, seen: map[*proxyWatcher]bool{}}
		writers := connect.Client(t, w.address)
		w.write(ctx, t, writers, 1)
		var watchers errgroup.Group
		for i := range proxyWatchers {
			client := connect.Client(t, w.address)
			watchers.Go(func() error { return w.watch(ctx, client, rand.New(rand.NewPCG(uint64(i), 3))) })
		}
		w.write(ctx, t, writers, 2)
		if err := server.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		w.write(ctx, t, writers, 3)
		ended := make(chan error, 1)
		go func() { ended <- watchers.Wait() }()
		w.finish(ctx, t, server.Client(t), ended)
		w.check(ctx, t, server.Client(t))
	})
}

const (
	proxyWatchers = 12
	proxyWrites   = 300
	// lastKey is in the range of every watcher, and written last.
	lastKey = "k5/last"
)

// proxyWorkload is the workload of one proxy.
type proxyWorkload struct {
	address string

	mu sync.Mutex
	// revision is the revision of the newest acknowledged write.
	revision int64
	seen     map[*proxyWatcher]bool
	// end is the revision of the last write of lastKey.
	end int64
}

// proxyWatcher is a watcher with the events that it has seen.
type proxyWatcher struct {
	from, to string
	// revision is the start revision of the watch; 0 means the current one.
	revision int64
	events   []string
	// upTo is the revision of the last event.
	upTo int64
}

// write writes from four goroutines. A write may fail while the server restarts.
func (w *proxyWorkload) write(ctx context.Context, t *testing.T, client *clientv3.Client, seed uint64) {
	t.Helper()
	var writers errgroup.Group
	for i := range 4 {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		writers.Go(func() error {
			for n := 0; n < proxyWrites/4; {
				revision, err := writeOnce(ctx, client, r, strconv.Itoa(n))
				switch {
				case ctx.Err() != nil:
					return ctx.Err()
				case err != nil:
					continue
				}
				n++
				w.mu.Lock()
				w.revision = max(w.revision, revision)
				w.mu.Unlock()
			}
			return nil
		})
	}
	if err := writers.Wait(); err != nil {
		t.Fatal(err)
	}
}

func writeOnce(ctx context.Context, client *clientv3.Client, r *rand.Rand, value string) (int64, error) {
	key := func() string { return fmt.Sprintf("k%d", r.IntN(10)) }
	switch r.IntN(5) {
	case 0:
		a, err := client.Delete(ctx, key(), clientv3.WithPrefix())
		if err != nil {
			return 0, err
		}
		return a.Header.Revision, nil
	case 1:
		a, err := client.Txn(ctx).Then(
			clientv3.OpPut(key()+"/a", value), clientv3.OpPut(key()+"/b", value), clientv3.OpDelete(key()),
		).Commit()
		if err != nil {
			return 0, err
		}
		return a.Header.Revision, nil
	default:
		a, err := client.Put(ctx, key(), value)
		if err != nil {
			return 0, err
		}
		return a.Header.Revision, nil
	}
}

// finish writes lastKey until all watchers have ended. Each ends at lastKey, and one may begin after the first write.
func (w *proxyWorkload) finish(ctx context.Context, t *testing.T, client *clientv3.Client, ended <-chan error) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		a, err := client.Put(ctx, lastKey, "")
		if err != nil {
			t.Fatal(err)
		}
		w.end = a.Header.Revision
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
			return
		case <-tick.C:
		}
	}
}

// watch runs one watcher after the other, of random ranges and revisions, until one has seen lastKey.
func (w *proxyWorkload) watch(ctx context.Context, client *clientv3.Client, r *rand.Rand) error {
	for {
		one := &proxyWatcher{from: fmt.Sprintf("k%d", r.IntN(6)), to: fmt.Sprintf("k%d", 6+r.IntN(4))}
		w.mu.Lock()
		newest := w.revision
		w.seen[one] = true
		w.mu.Unlock()
		if r.IntN(2) == 0 {
			one.revision = 2 + r.Int64N(newest-1)
		}
		last, err := one.run(ctx, client, 1+r.IntN(200))
		if err != nil && len(one.events) == 0 && ctx.Err() == nil {
			// The proxy reads before it creates a watcher, and refuses to create one while the server restarts.
			w.mu.Lock()
			delete(w.seen, one)
			w.mu.Unlock()
			continue
		}
		if last || err != nil {
			return err
		}
	}
}

// run watches until it has seen lastKey, or at least n events.
func (one *proxyWatcher) run(ctx context.Context, client *clientv3.Client, n int) (last bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	opts := []clientv3.OpOption{clientv3.WithRange(one.to), clientv3.WithRev(one.revision), clientv3.WithPrevKV()}
	for r := range client.Watch(ctx, one.from, opts...) {
		if err := r.Err(); err != nil {
			return false, fmt.Errorf("watch [%s, %s) from %d: %w", one.from, one.to, one.revision, err)
		}
		for _, e := range r.Events {
			one.events = append(one.events, describeEvent(e))
			one.upTo = e.Kv.ModRevision
			last = last || string(e.Kv.Key) == lastKey
		}
		if last || len(one.events) >= n {
			return last, nil
		}
	}
	return false, fmt.Errorf("watch [%s, %s) from %d: closed after %d events: %w",
		one.from, one.to, one.revision, len(one.events), ctx.Err())
}

func describeEvent(e *clientv3.Event) string {
	return fmt.Sprintf("%d %v %s=%s, before %s", e.Kv.ModRevision, e.Type, e.Kv.Key, e.Kv.Value, e.PrevKv.GetValue())
}

// check compares each watcher with the history, which it reads from the server itself.
func (w *proxyWorkload) check(ctx context.Context, t *testing.T, direct *clientv3.Client) {
	t.Helper()
	var history []*clientv3.Event
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	for r := range direct.Watch(watch, "k", clientv3.WithPrefix(), clientv3.WithRev(2), clientv3.WithPrevKV()) {
		if err := r.Err(); err != nil {
			t.Fatal(err)
		}
		history = append(history, r.Events...)
		if history[len(history)-1].Kv.ModRevision >= w.end {
			break
		}
	}
	total := 0
	for one := range w.seen {
		one.check(t, history)
		total += len(one.events)
	}
	t.Logf("%d watchers saw %d events of a history of %d", len(w.seen), total, len(history))
}

func (one *proxyWatcher) check(t *testing.T, history []*clientv3.Event) {
	t.Helper()
	if len(one.events) == 0 {
		t.Errorf("the watcher of [%s, %s) from %d saw nothing", one.from, one.to, one.revision)
		return
	}
	var want []string
	for _, e := range history {
		key, at := string(e.Kv.Key), e.Kv.ModRevision
		if key >= one.from && key < one.to && at >= one.revision && at <= one.upTo {
			want = append(want, describeEvent(e))
		}
	}
	if one.revision == 0 {
		// The first event shows at which revision the watch began.
		first := slices.Index(want, one.events[0])
		want = want[max(first, 0):]
	}
	if diff := cmp.Diff(want, one.events); diff != "" {
		t.Errorf("the watcher of [%s, %s) from %d (-want +got):\n%s",
			one.from, one.to, one.revision, diff[:min(len(diff), 4000)])
	}
}

// TestProxyCompaction watches through a proxy from a revision that was compacted.
func TestProxyCompaction(t *testing.T) {
	t.Parallel()
	etcd := etcdProgram(t)
	onEach(t, []string{modeEtcd}, func(t *testing.T, server *target.Target) {
		ctx, cancel := context.WithTimeout(t.Context(), toolTimeout)
		defer cancel()
		client := connect.Client(t, startProxy(t, etcd, server).address)
		for i := range 5 {
			if _, err := client.Put(ctx, "k", strconv.Itoa(i)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := client.Compact(ctx, 4); err != nil {
			t.Fatal(err)
		}
		r := <-client.Watch(ctx, "k", clientv3.WithRev(2))
		if r.CompactRevision != 4 || r.Err() == nil || r.Err().Error() != rpctypes.ErrCompacted.Error() {
			t.Errorf("compact revision %d, error %v", r.CompactRevision, r.Err())
		}
		// The watcher has another range. Until the proxy has removed the canceled watcher, watchers of the same range
		// join it.
		if r := <-client.Watch(ctx, "k", clientv3.WithRev(4), clientv3.WithPrefix()); r.Err() != nil ||
			len(r.Events) != 3 {
			t.Errorf("%d events, error %v", len(r.Events), r.Err())
		}
	})
}
