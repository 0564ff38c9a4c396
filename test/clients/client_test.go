package clients

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/mirror"
	"go.etcd.io/etcd/client/v3/namespace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"

	"github.com/stele-db/stele/test/internal/target"
)

const clientTimeout = 60 * time.Second

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), clientTimeout)
	t.Cleanup(cancel)
	return ctx
}

// TestClient uses the functions of etcd's client that programs use.
func TestClient(t *testing.T) {
	ctx := bounded(t)
	client := target.Subject(t).Client(t)

	// The leader election ends before a client with require-leader can notice it.
	if _, err := client.Put(clientv3.WithRequireLeader(ctx), "a", "1"); err != nil {
		t.Fatal(err)
	}
	txn, err := client.Txn(ctx).
		If(clientv3.Compare(clientv3.Version("a"), "=", 1), clientv3.Compare(clientv3.Value("a"), "<", "2")).
		Then(clientv3.OpPut("b", "2"), clientv3.OpGet("", clientv3.WithPrefix())).
		Else(clientv3.OpDelete("a")).
		Commit()
	if err != nil {
		t.Fatal(err)
	}
	if n := txn.Responses[1].GetResponseRange().Count; !txn.Succeeded || n != 2 {
		t.Fatalf("txn: succeeded %v, %d keys", txn.Succeeded, n)
	}
	sorted, err := client.Get(ctx, "", clientv3.WithPrefix(),
		clientv3.WithSort(clientv3.SortByValue, clientv3.SortDescend), clientv3.WithLimit(1))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(sorted.Kvs[0].Key); got != "b" || !sorted.More {
		t.Fatalf("the largest value has key %q, more %v", got, sorted.More)
	}
	if _, err := client.Compact(ctx, txn.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	for _, endpoint := range client.Endpoints() {
		if _, err := client.Status(ctx, endpoint); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Get(ctx, "a"); err != nil {
		t.Fatalf("after Sync took over the advertised URLs %v: %v", client.Endpoints(), err)
	}
}

// TestNamespace uses etcd's client-side prefixing.
func TestNamespace(t *testing.T) {
	ctx := bounded(t)
	client := target.Subject(t).Client(t)
	kv, watcher := namespace.NewKV(client.KV, "ns/"), namespace.NewWatcher(client.Watcher, "ns/")
	events := watcher.Watch(ctx, "", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	<-events
	if _, err := kv.Put(ctx, "k", "v"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Put(ctx, "outside", "v"); err != nil {
		t.Fatal(err)
	}
	if r := <-events; len(r.Events) != 1 || string(r.Events[0].Kv.Key) != "k" {
		t.Fatalf("watched %v", r.Events)
	}
	got, err := kv.Get(ctx, "", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	if got.Count != 1 || string(got.Kvs[0].Key) != "k" {
		t.Fatalf("namespace holds %v", got.Kvs)
	}
	if got, err := client.Get(ctx, "ns/k"); err != nil || got.Count != 1 {
		t.Fatalf("the key is not under the prefix: %v, %v", got, err)
	}
}

// TestMirror copies all keys with etcd's syncer, which pages through a revision and then watches.
func TestMirror(t *testing.T) {
	ctx := bounded(t)
	client := target.Subject(t).Client(t)
	want := map[string]string{}
	for i := range 2500 {
		key := fmt.Sprintf("key/%04d", i*7%2500)
		want[key] = "v"
		if _, err := client.Put(ctx, key, "v"); err != nil {
			t.Fatal(err)
		}
	}
	syncer := mirror.NewSyncer(client, "key/", 0)
	pages, errs := syncer.SyncBase(ctx)
	got := map[string]string{}
	for page := range pages {
		for _, kv := range page.Kvs {
			got[string(kv.Key)] = string(kv.Value)
		}
	}
	if err := <-errs; err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("copied %d keys, want %d", len(got), len(want))
	}
	updates := syncer.SyncUpdates(ctx)
	if _, err := client.Put(ctx, "key/new", "v"); err != nil {
		t.Fatal(err)
	}
	if r := <-updates; len(r.Events) != 1 || string(r.Events[0].Kv.Key) != "key/new" {
		t.Fatalf("update is %v", r.Events)
	}
}

// TestWatchOverRestarts kills the server repeatedly while a client writes and another one watches: no event may be
// missing, duplicated or out of order.
func TestWatchOverRestarts(t *testing.T) {
	ctx := bounded(t)
	server := target.Subject(t)
	writer, watching := server.Client(t), server.Client(t)

	type event struct {
		value    string
		revision int64
	}
	seen := make(chan event, 10000)
	go func() {
		defer close(seen)
		for r := range watching.Watch(clientv3.WithRequireLeader(ctx), "k", clientv3.WithRev(1)) {
			if err := r.Err(); err != nil {
				t.Errorf("watch: %v", err)
				return
			}
			for _, ev := range r.Events {
				seen <- event{string(ev.Kv.Value), ev.Kv.ModRevision}
			}
		}
	}()

	var acknowledged []event
	for i := range 200 {
		if i%50 == 25 {
			if err := server.Restart(ctx); err != nil {
				t.Fatal(err)
			}
		}
		value := fmt.Sprint(i)
		for {
			r, err := writer.Put(ctx, "k", value)
			if err == nil {
				acknowledged = append(acknowledged, event{value, r.Header.Revision})
				break
			}
			if ctx.Err() != nil {
				t.Fatal(err)
			}
		}
	}
	var got []event
	for len(got) == 0 || got[len(got)-1] != acknowledged[len(acknowledged)-1] {
		select {
		case ev, ok := <-seen:
			if !ok {
				t.Fatalf("the watch ended after %d events", len(got))
			}
			got = append(got, ev)
		case <-ctx.Done():
			t.Fatalf("the last event is missing after %d of %d", len(got), len(acknowledged))
		}
	}
	// A put of unknown outcome may have taken effect, so that there may be more events than acknowledged writes.
	for _, want := range acknowledged {
		if !slices.Contains(got, want) {
			t.Errorf("no event for %v", want)
		}
	}
	for i := 1; i < len(got); i++ {
		if got[i].revision <= got[i-1].revision {
			t.Errorf("event %v after %v", got[i], got[i-1])
		}
	}
	t.Logf("%d writes acknowledged over 4 kills, %d events in order", len(acknowledged), len(got))
}

// TestLeaseOverRestart kills the server while a lease is active: its deadline is neither extended nor lost.
func TestLeaseOverRestart(t *testing.T) {
	ctx := bounded(t)
	server := target.Subject(t)
	client := server.Client(t)
	const ttl = 4 * time.Second
	lease, err := client.Grant(ctx, int64(ttl.Seconds()))
	if err != nil {
		t.Fatal(err)
	}
	put, err := client.Put(ctx, "k", "v", clientv3.WithLease(lease.ID))
	if err != nil {
		t.Fatal(err)
	}
	written := time.Now()
	stays, err := client.Grant(ctx, 600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Put(ctx, "stays", "v", clientv3.WithLease(stays.ID)); err != nil {
		t.Fatal(err)
	}
	// Most of the TTL passes before the restart: a deadline that starts there would be late.
	events := client.Watch(ctx, "k", clientv3.WithRev(put.Header.Revision+1))
	select {
	case r := <-events:
		t.Fatalf("deleted %v after the write: %v", time.Since(written), r.Events)
	case <-time.After(time.Until(written.Add(ttl - time.Second))):
	}
	if err := server.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	r := <-events
	took := time.Since(written)
	if len(r.Events) != 1 || r.Events[0].Type != clientv3.EventTypeDelete {
		t.Fatalf("after the deadline: %v, %v", r.Events, r.Err())
	}
	if took < ttl || took > ttl+5*time.Second {
		t.Errorf("deleted %v after the write, want about %v", took, ttl)
	}
	if got, err := client.Get(ctx, "stays"); err != nil || got.Count != 1 {
		t.Errorf("the other key: %v, %v", got, err)
	}
	t.Logf("deleted %v after the write with a TTL of %v", took, ttl)
}

// TestCompactAtReplacement compacts at a revision in which a key was deleted and put again, where etcd 3.7.3 loses the
// key.
func TestCompactAtReplacement(t *testing.T) {
	ctx := bounded(t)
	server := target.Stele(t)
	client := server.Client(t)
	if _, err := client.Put(ctx, "k", "old"); err != nil {
		t.Fatal(err)
	}
	replaced, err := client.Txn(ctx).Then(clientv3.OpDelete("a", clientv3.WithFromKey()),
		clientv3.OpPut("k", "new")).Commit()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Compact(ctx, replaced.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		for _, revision := range []int64{0, replaced.Header.Revision} {
			got, err := client.Get(ctx, "k", clientv3.WithRev(revision))
			if err != nil {
				t.Fatalf("%s, at revision %d: %v", when, revision, err)
			}
			if len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "new" || got.Kvs[0].Version != 1 {
				t.Errorf("%s, at revision %d: %v", when, revision, got.Kvs)
			}
		}
	}
	check("after the compaction")
	if err := server.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	check("after a restart")
}

// TestReflection lists the services as grpcurl does.
func TestReflection(t *testing.T) {
	ctx := bounded(t)
	conn := target.Subject(t).Conn
	stream, err := grpc_reflection_v1.NewServerReflectionClient(conn).ServerReflectionInfo(ctx, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(r *grpc_reflection_v1.ServerReflectionRequest) *grpc_reflection_v1.ServerReflectionResponse {
		t.Helper()
		if err := stream.Send(r); err != nil {
			t.Fatal(err)
		}
		a, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	list := ask(&grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{},
	})
	var names []string
	for _, s := range list.GetListServicesResponse().GetService() {
		names = append(names, s.Name)
	}
	for _, want := range []string{"etcdserverpb.KV", "etcdserverpb.Watch", "etcdserverpb.Lease",
		"etcdserverpb.Maintenance", "etcdserverpb.Cluster", "grpc.health.v1.Health"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not among %v", want, names)
		}
	}
	file := ask(&grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_FileContainingSymbol{
			FileContainingSymbol: "etcdserverpb.KV.Range",
		},
	})
	if len(file.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
		t.Errorf("no descriptor of Range: %v", file)
	}
}
