package apiserver

import (
	"context"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/apis/example"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/etcd3"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"
)

// stored returns a check that an object is stored readably and without the fields that reads set.
func stored(client *clientv3.Client, codec runtime.Codec) storagetesting.KeyValidation {
	return func(ctx context.Context, t *testing.T, key string) {
		t.Helper()
		answer, err := client.Get(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		if len(answer.Kvs) != 1 {
			t.Fatalf("%d keys at %q, want 1", len(answer.Kvs), key)
		}
		object, err := runtime.Decode(codec, answer.Kvs[0].Value[len(valuePrefix):])
		if err != nil {
			t.Fatalf("decode %q: %v", answer.Kvs[0].Value, err)
		}
		pod, ok := object.(*example.Pod)
		if !ok {
			t.Fatalf("%q holds a %T", key, object)
		}
		if pod.ResourceVersion != "" || pod.SelfLink != "" { //nolint:staticcheck // deprecated, must not be stored
			t.Errorf("stored with what only readers are told: %+v", pod.ObjectMeta)
		}
	}
}

// unchecked is for the cache, which stores nothing itself.
func unchecked(context.Context, *testing.T, string) {}

// largestPage is the largest page of the etcd3 store.
const largestPage = 10000

// reads returns a check of the numbers of values and of requests that a list has read. Pages begin with the requested
// size and double.
func (e *storeEnv) reads() storagetesting.CallsValidation {
	recorder, ok := e.client.KV.(*storagetesting.KVRecorder)
	if !ok {
		e.Fatalf("the client's KV is a %T", e.client.KV)
	}
	return func(t *testing.T, pageSize, objects uint64) {
		t.Helper()
		if got := e.prefixed.GetReadsAndReset(); got != objects {
			t.Errorf("%d values were read, want %d", got, objects)
		}
		want := uint64(1)
		if pageSize > 0 {
			for page, sum := pageSize, uint64(1); sum < objects; want++ {
				page = min(2*page, largestPage)
				sum += page
			}
		}
		if got := readsOf(recorder); got != want {
			t.Errorf("%d requests, want %d", got, want)
		}
	}
}

func uncheckedReads(*testing.T, uint64, uint64) {}

// increaseRevision returns a function that writes a key outside the store and returns the new revision.
func increaseRevision(client *clientv3.Client) storagetesting.IncreaseRVFunc {
	return func(ctx context.Context, t *testing.T) int64 {
		t.Helper()
		answer, err := client.Put(ctx, "elsewhere", "")
		if err != nil {
			t.Fatal(err)
		}
		return answer.Header.Revision
	}
}

// compact returns a function that compacts as the API server does. When the store has noticed the compaction, it calls
// then.
func compact(client *clientv3.Client, store storage.Interface, then func()) storagetesting.Compaction {
	return func(ctx context.Context, t *testing.T, resourceVersion string) {
		t.Helper()
		revision, err := storage.APIObjectVersioner{}.ParseResourceVersion(resourceVersion)
		if err != nil {
			t.Fatal(err)
		}
		// If another client has compacted under this prefix before, the first attempt fails and returns the number of
		// compactions.
		var times, compacted int64
		for range 2 {
			times, _, compacted, err = etcd3.Compact(ctx, client, times, int64(revision))
			if err != nil {
				t.Fatal(err)
			}
			if compacted == int64(revision) {
				break
			}
		}
		if compacted != int64(revision) {
			t.Fatalf("compacted at %d, want %d", compacted, revision)
		}
		if watchesCompactions() {
			await(t, "the store knows of the compaction", func() bool {
				return store.CompactRevision() == int64(revision)
			})
		}
		then()
	}
}
