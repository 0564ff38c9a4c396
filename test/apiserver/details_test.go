package apiserver

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/apis/example"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/etcd3"
	"k8s.io/utils/ptr"

	"github.com/stele-db/stele/test/apiserver/internal/server"
)

// TestDetails tests properties that the store relies on and the shared tests omit.
func TestDetails(t *testing.T) {
	on := &servers{t: t}
	t.Run("CurrentResourceVersion", func(t *testing.T) {
		testCurrentRevision(newStoreEnv(t, newClient(t, on.of(shared, t))))
	})
	t.Run("Stats", func(t *testing.T) { testStats(t, on.of(shared, t)) })
	t.Run("FutureWatchList", func(t *testing.T) { testFutureWatchList(newStoreEnv(t, newClient(t, on.of(shared, t)))) })
	t.Run("Leases", testLeases)
	t.Run("Restart", testRestart)
}

// testCurrentRevision expects the revision of the whole server, which reads do not change.
func testCurrentRevision(e *storeEnv) {
	want := createPod(e.T, e, "pod").ResourceVersion
	check := func() {
		e.Helper()
		for range 3 {
			if _, err := e.client.KV.Get(e.ctx, "key"); err != nil {
				e.Fatal(err)
			}
		}
		got, err := e.GetCurrentResourceVersion(e.ctx)
		if err != nil || strconv.FormatUint(got, 10) != want {
			e.Errorf("the current revision is %d, %v; want %s", got, err, want)
		}
	}
	check()
	want = strconv.FormatInt(increaseRevision(e.client.Client)(e.ctx, e.T), 10)
	check()
}

// testStats expects a count of the objects of one resource, without keys that begin similarly.
func testStats(t *testing.T, s *server.Server) {
	for _, estimate := range []bool{false, true} {
		t.Run(fmt.Sprintf("estimate=%v", estimate), func(t *testing.T) {
			client := newClient(t, s)
			store := newStore(t, client, layout{
				prefix: "/registry", transformer: newPrefixTransformer(), leases: etcd3.NewDefaultLeaseManagerConfig(),
			})
			want := storage.Stats{ObjectCount: 2}
			if estimate {
				if err := store.EnableResourceSizeEstimation(keysOf(client.Client, "/registry/pods/")); err != nil {
					t.Fatal(err)
				}
				want.EstimatedAverageObjectSizeBytes = 3
			}
			for key, value := range map[string]string{
				"pods": "1", "/registry/pod": "12345", "/registry/pods": "1234567", "/registry/podspec/a": "12345678",
				"/registry/pods0":  "1",
				"/registry/pods/a": "12", "/registry/pods/b/c": "1234",
			} {
				if _, err := client.Put(t.Context(), key, value); err != nil {
					t.Fatal(err)
				}
			}
			// The list cannot decode the values, but the store records their sizes.
			if err := store.GetList(t.Context(), podPrefix,
				storage.ListOptions{Predicate: storage.Everything, Recursive: true}, &example.PodList{}); err == nil {
				t.Error("values that are no pods were decoded")
			}
			if got, err := store.Stats(t.Context()); err != nil || got != want {
				t.Errorf("%+v, %v; want %+v", got, err, want)
			}
		})
	}
}

// testFutureWatchList checks that a watch fails if it begins with a list at a future revision. The error must suggest a
// delay.
func testFutureWatchList(e *storeEnv) {
	current, err := e.GetCurrentResourceVersion(e.ctx)
	if err != nil {
		e.Fatal(err)
	}
	everything := storage.Everything
	everything.AllowWatchBookmarks = true
	w, err := e.Watch(e.ctx, podPrefix, storage.ListOptions{
		ResourceVersion:      strconv.FormatUint(current+100, 10),
		ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
		SendInitialEvents:    ptr.To(true), Predicate: everything, Recursive: true,
	})
	if err != nil {
		e.Fatal(err)
	}
	defer w.Stop()
	event := next(e.T, w)
	failed := apierrors.FromObject(event.Object)
	if event.Type != watch.Error || !storage.IsTooLargeResourceVersion(failed) {
		e.Errorf("%v: %v, want an error: too large a revision", event.Type, failed)
	}
	if _, ok := apierrors.SuggestsClientDelay(failed); !ok {
		e.Errorf("%v does not say when to come back", failed)
	}
}

// countedLeases counts granted leases.
type countedLeases struct {
	clientv3.Lease
	granted atomic.Int64
}

// Grant implements clientv3.Lease.
func (c *countedLeases) Grant(ctx context.Context, ttl int64) (*clientv3.LeaseGrantResponse, error) {
	c.granted.Add(1)
	return c.Lease.Grant(ctx, ttl)
}

// testLeases checks that every object has a lease, shared by as many objects as configured.
func testLeases(t *testing.T) {
	// The test has its own server, so that expiries raise no other test's revision.
	client := newClient(t, server.Start(t, server.Options{}))
	leases := &countedLeases{Lease: client.Lease}
	client.Lease = leases
	store := newStore(t, client, layout{
		transformer: newPrefixTransformer(), leases: etcd3.LeaseManagerConfig{
			ReuseDurationSeconds: 60, MaxObjectCount: 2,
		},
	})
	const objects, ttl = 5, 3600
	for i := range objects {
		key := fmt.Sprintf("%sdefault/pod-%d", podPrefix, i)
		if err := store.Create(t.Context(), key, newPod(), nil, ttl); err != nil {
			t.Fatal(err)
		}
		answer, err := client.KV.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if len(answer.Kvs) != 1 || answer.Kvs[0].Lease == 0 {
			t.Errorf("%s is stored as %v, want it with a lease", key, answer.Kvs)
		}
	}
	if got := leases.granted.Load(); got != 3 {
		t.Errorf("%d leases for %d objects, two for each; want 3", got, objects)
	}
}

// testRestart kills the server below a cache. Watches must continue without a gap and without duplicate events.
func testRestart(t *testing.T) {
	s := server.Start(t, server.Options{})
	e := newCacheEnv(t, newClient(t, s), cacheLayout{})
	w, err := e.Watch(t.Context(), podPrefix, storage.ListOptions{
		ResourceVersion: "0", Predicate: storage.Everything, Recursive: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	expect := func(names ...string) {
		t.Helper()
		for _, name := range names {
			event := next(t, w)
			if got := nameOf(t, event.Object); event.Type != watch.Added || got != name {
				t.Fatalf("%v %s, want %s to be added", event.Type, got, name)
			}
		}
	}
	// Before each kill, the test creates no more objects than the cache buffers for a watcher that does not read.
	const kills, before = 3, 5
	for kill := range kills {
		var names []string
		for i := range before {
			names = append(names, fmt.Sprintf("pod-%d-%d", kill, i))
			createPod(t, e, names[i])
		}
		s.Kill()
		s.Launch()
		expect(names...)
	}
	createPod(t, e, "last")
	expect("last")
	list := &example.PodList{}
	if err := e.GetList(t.Context(), podPrefix, storage.ListOptions{Predicate: storage.Everything, Recursive: true},
		list); err != nil {
		t.Fatal(err)
	}
	if got, want := len(list.Items), kills*before+1; got != want {
		t.Errorf("%d pods, want %d", got, want)
	}
}

func nameOf(t *testing.T, object runtime.Object) string {
	t.Helper()
	if cached, ok := object.(runtime.CacheableObject); ok {
		object = cached.GetObject()
	}
	pod, ok := object.(*example.Pod)
	if !ok {
		t.Fatalf("%T is no pod: %v", object, object)
	}
	return pod.Name
}
