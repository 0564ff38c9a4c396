package apiserver

import (
	"context"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apiserver/pkg/features"
	"k8s.io/apiserver/pkg/storage"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/component-base/featuregate"
	featuregatetesting "k8s.io/component-base/featuregate/testing"
)

// TestStorage runs Kubernetes' storage tests. Compactions come last, because they remove the history of all prefixes.
func TestStorage(t *testing.T) {
	on := &servers{t: t}
	t.Run("etcd3", func(t *testing.T) { runStoreTests(t, on, storeTests) })
	t.Run("etcd3 of this release", func(t *testing.T) { runStoreTests(t, on, releaseTests) })
	t.Run("cacher", func(t *testing.T) { runCacheTests(t, on, cacheTests) })
	t.Run("etcd3 compacting", func(t *testing.T) { runStoreTests(t, on, storeCompactions) })
	t.Run("cacher compacting", func(t *testing.T) { runCacheTests(t, on, cacheCompactions) })
}

// gates are feature gates of the API server. They are global, so tests that set them do not run in parallel with
// others.
type gates map[featuregate.Feature]bool

func (g gates) set(t *testing.T) {
	t.Helper()
	for gate, on := range g {
		featuregatetesting.SetFeatureGateDuringTest(t, utilfeature.DefaultFeatureGate, gate, on)
	}
}

// watchesCompactions reports whether stores follow the compactions of other API servers.
func watchesCompactions() bool {
	return utilfeature.DefaultFeatureGate.Enabled(features.ListFromCacheSnapshot)
}

// keysOf returns a function that lists the keys of a resource, as a store without a cache does.
func keysOf(client *clientv3.Client, prefix string) storage.KeysFunc {
	return func(ctx context.Context) ([]string, error) {
		answer, err := client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil {
			return nil, err
		}
		var keys []string
		for _, kv := range answer.Kvs {
			keys = append(keys, string(kv.Key))
		}
		return keys, nil
	}
}
