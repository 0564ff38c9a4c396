package apiserver

import (
	"context"
	"fmt"
	"testing"

	"go.etcd.io/etcd/client/v3/kubernetes"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/apis/example"
	examplev1 "k8s.io/apiserver/pkg/apis/example/v1"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/cacher"
	"k8s.io/apiserver/pkg/storage/etcd3"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"
	"k8s.io/apiserver/pkg/storage/value/encrypt/identity"
	clientfeatures "k8s.io/client-go/features"
	"k8s.io/client-go/tools/cache"
)

// cacheEnv is the environment of a test of the watch cache.
type cacheEnv struct {
	*testing.T
	*cacher.CacheDelegator
	//nolint:containedctx // a cacheEnv is the arguments of one test, which bounds all of its calls
	ctx    context.Context
	client *kubernetes.Client
	cacher *cacher.Cacher
	// store is below the cache.
	store storage.Interface
	clock *compactionClock
}

// cacheLayout has the differences between caches. The zero value has objects in namespaces, and no index.
type cacheLayout struct {
	clusterScoped, indexed bool
}

const podPrefix = "/pods/"

// newCacheEnv creates the API server's cache and waits until it has read the store.
func newCacheEnv(t *testing.T, client *kubernetes.Client, l cacheLayout) *cacheEnv {
	t.Helper()
	store := newStore(t, client, layout{
		prefix:      "/registry",
		transformer: identity.NewEncryptCheckTransformer(),
		leases:      etcd3.NewDefaultLeaseManagerConfig(),
	})
	// The cache must survive a failure of its first list. With WatchListClient it watches and does not list.
	failing := &storagetesting.StorageInjectingListErrors{Interface: store, Errors: 1}
	if clientfeatures.FeatureGates().Enabled(clientfeatures.WatchListClient) {
		failing.Errors = 0
	}
	clock := &compactionClock{}
	config := cacher.Config{
		Storage: failing, Versioner: storage.APIObjectVersioner{}, GroupResource: pods,
		EventsHistoryWindow: cacher.DefaultEventFreshDuration,
		ResourcePrefix:      podPrefix,
		KeyFunc:             keyFunc(l),
		GetAttrsFunc:        podAttributes,
		NewFunc:             newPod, NewListFunc: newPodList,
		Codec: codecs.LegacyCodec(examplev1.SchemeGroupVersion),
		Clock: clock,
	}
	if l.indexed {
		config.IndexerFuncs, config.Indexers = podIndex()
	} else {
		config.Indexers = &cache.Indexers{}
	}
	c, err := cacher.NewCacherFromConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	delegator := cacher.NewCacheDelegator(c, failing)
	t.Cleanup(func() {
		delegator.Stop()
		c.Stop()
	})
	await(t, "the failing list was asked for", func() bool {
		consumed, err := failing.ErrorsConsumed()
		return consumed && err == nil
	})
	if err := c.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &cacheEnv{
		T: t, CacheDelegator: delegator, ctx: t.Context(), client: client, cacher: c, store: store, clock: clock,
	}
}

func keyFunc(l cacheLayout) func(runtime.Object) (string, error) {
	return func(object runtime.Object) (string, error) {
		if l.clusterScoped {
			return storage.NoNamespaceKeyFunc(podPrefix, object)
		}
		return storage.NamespaceKeyFunc(podPrefix, object)
	}
}

// podAttributes returns the labels and fields by which pods are selected.
func podAttributes(object runtime.Object) (labels.Set, fields.Set, error) {
	pod, ok := object.(*example.Pod)
	if !ok {
		return nil, nil, fmt.Errorf("a pod was expected, not a %T", object)
	}
	return pod.Labels, fields.Set{
		"metadata.name":      pod.Name,
		"metadata.namespace": pod.Namespace,
		"spec.nodeName":      pod.Spec.NodeName,
		"spec.restartPolicy": string(pod.Spec.RestartPolicy),
		"status.phase":       string(pod.Status.Phase),
	}, nil
}

// podIndex returns the API server's indexes of pods: by node, and by namespace.
func podIndex() (storage.IndexerFuncs, *cache.Indexers) {
	node := func(object any) string {
		if pod, ok := object.(*example.Pod); ok {
			return pod.Spec.NodeName
		}
		return ""
	}
	namespace := func(object any) string {
		if pod, ok := object.(*example.Pod); ok {
			return pod.Namespace
		}
		return ""
	}
	one := func(of func(any) string) cache.IndexFunc {
		return func(object any) ([]string, error) { return []string{of(object)}, nil }
	}
	return storage.IndexerFuncs{"spec.nodeName": func(object runtime.Object) string { return node(object) }},
		&cache.Indexers{"f:spec.nodeName": one(node), "f:metadata.namespace": one(namespace)}
}

func (e *cacheEnv) recorder() *storagetesting.KubernetesRecorder {
	recorder, ok := e.client.Kubernetes.(*storagetesting.KubernetesRecorder)
	if !ok {
		e.Fatalf("the client's Kubernetes is a %T", e.client.Kubernetes)
	}
	return recorder
}

// compact returns a function that compacts the store and waits until the cache has checked for compactions.
func (e *cacheEnv) compact() storagetesting.Compaction {
	return compact(e.client.Client, e.store, func() { e.clock.pass(e.T) })
}

// creating is a cache whose Create returns only when a read of the cache would return the object.
type creating struct {
	*cacheEnv
}

// Create implements storage.Interface.
func (c creating) Create(ctx context.Context, key string, object, out runtime.Object, ttl uint64) error {
	if err := c.CacheDelegator.Create(ctx, key, object, out, ttl); err != nil {
		return err
	}
	var failed error
	await(c.T, "the cache has what was created", func() bool {
		pod := &example.Pod{}
		failed = c.Get(ctx, key, storage.GetOptions{ResourceVersion: "0"}, pod)
		return apiequality.Semantic.DeepEqual(pod, out) || failed != nil && !storage.IsNotFound(failed)
	})
	return failed
}
