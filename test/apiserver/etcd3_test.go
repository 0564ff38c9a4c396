package apiserver

import (
	"context"
	"testing"

	"go.etcd.io/etcd/client/v3/kubernetes"
	"k8s.io/apimachinery/pkg/api/apitesting"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apiserver/pkg/apis/example"
	examplev1 "k8s.io/apiserver/pkg/apis/example/v1"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/etcd3"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"
	"k8s.io/apiserver/pkg/storage/value"
	"k8s.io/utils/clock"
)

var (
	scheme = runtime.NewScheme()
	codecs = serializer.NewCodecFactory(scheme)
	pods   = schema.GroupResource{Resource: "pods"}
)

func init() {
	metav1.AddToGroupVersion(scheme, metav1.SchemeGroupVersion)
	utilruntime.Must(example.AddToScheme(scheme))
	utilruntime.Must(examplev1.AddToScheme(scheme))
}

func newCodec() runtime.Codec { return apitesting.TestCodec(codecs, examplev1.SchemeGroupVersion) }

func newPod() runtime.Object { return &example.Pod{} }

func newPodList() runtime.Object { return &example.PodList{} }

// layout describes where and how a store keeps its objects.
type layout struct {
	// prefix precedes the keys of all resources.
	prefix string
	// resourcePrefix precedes the keys of pods; empty means "/pods/".
	resourcePrefix string
	transformer    value.Transformer
	leases         etcd3.LeaseManagerConfig
}

// newStore creates the API server's store of pods.
func newStore(t *testing.T, client *kubernetes.Client, l layout) storage.Interface {
	t.Helper()
	if l.resourcePrefix == "" {
		l.resourcePrefix = "/pods/"
	}
	codec, versioner := newCodec(), storage.APIObjectVersioner{}
	compactor := etcd3.NewCompactor(client.Client, 0, clock.RealClock{}, nil)
	t.Cleanup(compactor.Stop)
	store, err := etcd3.New(client, compactor, codec, newPod, newPodList, l.prefix, l.resourcePrefix, pods,
		l.transformer, l.leases,
		etcd3.NewDefaultDecoder(codec, versioner), versioner)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return store
}

// storeEnv is the environment of a test of the store.
type storeEnv struct {
	*testing.T
	transforming
	//nolint:containedctx // a storeEnv is the arguments of one test, which bounds all of its calls
	ctx    context.Context
	client *kubernetes.Client
	// prefixed is the first transformer of the store.
	prefixed *storagetesting.PrefixTransformer
}

// newStoreEnv creates a store that reuses a lease for only one second. The tests wait for leases to expire.
func newStoreEnv(t *testing.T, client *kubernetes.Client) *storeEnv {
	t.Helper()
	leases := etcd3.NewDefaultLeaseManagerConfig()
	leases.ReuseDurationSeconds = 1
	prefixed := newPrefixTransformer()
	transformer := newSwitchable(prefixed)
	store := newStore(t, client, layout{transformer: transformer, leases: leases})
	return &storeEnv{
		T: t, transforming: transforming{store, transformer},
		ctx: t.Context(), client: client, prefixed: prefixed,
	}
}
