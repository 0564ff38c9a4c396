//go:build !kubernetes137

package apiserver

import (
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/kubernetes"
	"go.etcd.io/etcd/client/v3/namespace"
	"k8s.io/apiserver/pkg/features"
	"k8s.io/apiserver/pkg/storage/etcd3"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"
)

// prefixed adds a prefix to all keys.
func prefixed(kv clientv3.KV, prefix string) clientv3.KV { return namespace.NewKV(kv, prefix) }

// record makes the client count its reads and record its lists.
func record(c *kubernetes.Client) {
	c.KV = storagetesting.NewKVRecorder(c.KV)
	c.Kubernetes = storagetesting.NewKubernetesRecorder(c.Kubernetes)
}

// readsOf returns the number of reads since the previous call.
func readsOf(r *storagetesting.KVRecorder) uint64 { return r.GetReadsAndReset() }

// releaseTests are the tests that differ between releases of Kubernetes.
var releaseTests = []storeTest{
	{name: "WatchWithUnsafeDelete", gates: gates{features.AllowUnsafeMalformedObjectDeletion: true},
		run: func(e *storeEnv) {
			storagetesting.RunTestWatchWithUnsafeDelete(e.ctx, e.T, e)
		}},
}

// CorruptTransformer makes every value unreadable.
func (s transforming) CorruptTransformer() func() {
	return s.transformer.use(etcd3.WithCorruptObjErrorHandlingTransformer(unreadable{newPrefixTransformer()}))
}

// consistentLists are the values of the gate ConsistentListFromCache, with which the cache answers consistent lists.
var consistentLists = []bool{true, false}

// listFromStore makes a test send consistent lists to the store.
func listFromStore(test *cacheTest) {
	// In later versions the gate is always on.
	test.emulate = "1.33"
	test.gates[features.ConsistentListFromCache] = false
}
