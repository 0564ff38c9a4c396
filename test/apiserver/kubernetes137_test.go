//go:build kubernetes137

package apiserver

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/kubernetes"
	"go.etcd.io/etcd/client/v3/namespace"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/apis/example"
	"k8s.io/apiserver/pkg/features"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/feature"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"
	"k8s.io/apiserver/pkg/storage/value"
)

// prefixed adds a prefix to all keys, also to those of streams, which etcd's package namespace refuses.
func prefixed(kv clientv3.KV, prefix string) clientv3.KV {
	return prefixedStreams{namespace.NewKV(kv, prefix), kv, prefix}
}

type prefixedStreams struct {
	clientv3.KV
	inner  clientv3.KV
	prefix string
}

// GetStream implements clientv3.KV.
func (p prefixedStreams) GetStream(ctx context.Context, key string,
	opts ...clientv3.OpOption) (clientv3.GetStreamChan, error) {
	op := clientv3.OpGet(key, opts...)
	if end := op.RangeBytes(); end != nil {
		opts = append(opts[:len(opts):len(opts)], clientv3.WithRange(p.prefix+string(end)))
	}
	in, err := p.inner.GetStream(ctx, p.prefix+key, opts...)
	if err != nil {
		return nil, err
	}
	out := make(chan clientv3.RangeStreamResponse)
	go func() {
		defer close(out)
		for chunk := range in {
			if chunk.RangeResponse != nil {
				for _, kv := range chunk.Kvs {
					kv.Key = []byte(strings.TrimPrefix(string(kv.Key), p.prefix))
				}
			}
			select {
			case out <- chunk:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

// record makes the client count its reads and record its lists.
func record(c *kubernetes.Client) {
	lists := storagetesting.NewKubernetesRecorder(c.Kubernetes)
	c.KV = storagetesting.NewKVRecorder(c.KV, lists)
	c.Kubernetes = lists
}

// readsOf returns the number of reads since the previous call.
func readsOf(r *storagetesting.KVRecorder) uint64 {
	return r.GetReadsAndReset() + r.GetStreamReadsAndReset()
}

// releaseTests are the tests that differ between releases of Kubernetes.
var releaseTests = []storeTest{
	{name: "GetListWithoutErrorAggregation", gates: gates{features.AllowUnsafeMalformedObjectDeletion: false},
		run: func(e *storeEnv) {
			storagetesting.RunTestGetListWithoutErrorAggregation(e.ctx, e.T, e, errUnreadable)
		}},
	{name: "DeleteExpectedTransformError", gates: gates{features.AllowUnsafeMalformedObjectDeletion: true},
		run: func(e *storeEnv) {
			storagetesting.RunTestDeleteExpectedTransformOrDecodeError(e.ctx, e.T, e, e.failing())
		}},
	{name: "DeleteWithSuggestionAndMissingExpectedTransformError",
		gates: gates{features.AllowUnsafeMalformedObjectDeletion: true}, run: func(e *storeEnv) {
			storagetesting.RunTestDeleteWithSuggestionAndMissingExpectedTransformOrDecodeError(e.ctx, e.T, e)
		}},
	{name: "WatchSemanticsWithoutStreams", gates: gates{features.EtcdRangeStream: false}, run: func(e *storeEnv) {
		storagetesting.RunWatchSemantics(e.ctx, e.T, e)
	}},
	{name: "ConsistentListWithoutStreams", gates: gates{features.EtcdRangeStream: false}, run: func(e *storeEnv) {
		storagetesting.RunTestConsistentList(e.ctx, e.T, e, increaseRevision(e.client.Client), false, true, false)
	}},
	{name: "Streams", run: runStreams},
}

// consistentLists has one value, because in this release the cache always answers consistent lists.
var consistentLists = []bool{true}

func listFromStore(*cacheTest) {}

// UpdateTransformer replaces the tests' transformer by the result of modify.
func (s transforming) UpdateTransformer(modify storagetesting.TransformerModifier) func() {
	return s.transformer.use(modify(newPrefixTransformer()))
}

// failing returns a function that makes values unreadable (true) or readable (false).
func (e *storeEnv) failing() func(bool) {
	var fails atomic.Bool
	e.transformer.use(sometimes{newPrefixTransformer(), &fails})
	return fails.Store
}

type sometimes struct {
	value.Transformer
	fails *atomic.Bool
}

// TransformFromStorage implements value.Read.
func (s sometimes) TransformFromStorage(ctx context.Context, data []byte, dataCtx value.Context) ([]byte, bool, error) {
	if s.fails.Load() {
		return nil, false, errUnreadable
	}
	return s.Transformer.TransformFromStorage(ctx, data, dataCtx)
}

// runStreams expects lists and the beginning of watches to come as streams, in several chunks. No earlier test may have
// found the server without streams.
func runStreams(e *storeEnv) {
	const objects = 250
	for i := range objects {
		createPod(e.T, e, fmt.Sprintf("pod-%03d", i))
	}
	recorder, ok := e.client.KV.(*storagetesting.KVRecorder)
	if !ok {
		e.Fatalf("the client's KV is a %T", e.client.KV)
	}
	recorder.GetStreamReadsAndReset()
	list := func(revision string, match metav1.ResourceVersionMatch, limit int64) *example.PodList {
		e.Helper()
		predicate := storage.Everything
		predicate.Limit = limit
		pods := &example.PodList{}
		if err := e.GetList(e.ctx, podPrefix, storage.ListOptions{
			ResourceVersion: revision, ResourceVersionMatch: match, Predicate: predicate, Recursive: true,
		}, pods); err != nil {
			e.Fatal(err)
		}
		if got := recorder.GetStreamReadsAndReset(); got != 1 {
			e.Errorf("a list with limit %d came in %d streams, want 1", limit, got)
		}
		return pods
	}
	all := list("", "", 0)
	if got := len(all.Items); got != objects || all.Continue != "" || all.RemainingItemCount != nil {
		e.Errorf("%d objects, continue %q, remaining %v; want %d, and no more", got, all.Continue,
			all.RemainingItemCount, objects)
	}
	createPod(e.T, e, "later")
	if got := len(list(all.ResourceVersion, metav1.ResourceVersionMatchExact, 0).Items); got != objects {
		e.Errorf("%d objects at revision %s, want %d", got, all.ResourceVersion, objects)
	}
	page := list("", "", 100)
	if got := len(page.Items); got != 100 || page.Continue == "" || page.RemainingItemCount == nil ||
		*page.RemainingItemCount != objects+1-100 {
		e.Errorf("a page of 100 has %d objects, continue %q, remaining %v", got, page.Continue, page.RemainingItemCount)
	}
	w, err := e.Watch(e.ctx, podPrefix, storage.ListOptions{
		ResourceVersion: "0", Predicate: storage.Everything, Recursive: true,
	})
	if err != nil {
		e.Fatal(err)
	}
	defer w.Stop()
	for range objects + 1 {
		if event := next(e.T, w); event.Type != watch.Added {
			e.Fatalf("%v, want what is there to be added", event)
		}
	}
	if got := recorder.GetStreamReadsAndReset(); got != 1 {
		e.Errorf("the watch began with %d streams, want 1", got)
	}
	if !feature.DefaultFeatureSupportChecker.Supports(storage.RangeStream) {
		e.Error("a request before was told that there are no streams")
	}
}
