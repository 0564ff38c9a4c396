package yurthub

import (
	"slices"
	"testing"

	"github.com/openyurtio/openyurt/pkg/yurthub/storage"
	"github.com/openyurtio/openyurt/pkg/yurthub/yurtcoordinator/constants"
	"github.com/openyurtio/openyurt/pkg/yurthub/yurtcoordinator/resources"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/stele-db/stele/test/internal/target"
)

var endpoints = schema.GroupVersionResource{Version: "v1", Resource: "endpoints"}

// TestRecover starts a yurthub, which reads the keys of its pool's objects from the store.
func TestRecover(t *testing.T) {
	client := fake.NewClientset()
	client.Resources = []*metav1.APIResourceList{
		{GroupVersion: "v1"}, {GroupVersion: "discovery.k8s.io/v1"}, {GroupVersion: "discovery.k8s.io/v1beta1"},
	}
	resources.InitPoolScopeResourcesManger(client, informers.NewSharedInformerFactory(client, 0))
	if !slices.Contains(resources.GetPoolScopeResources(), endpoints) {
		t.Fatalf("the resources of a pool are %v", resources.GetPoolScopeResources())
	}

	const component = constants.DefaultPoolScopedUserAgent
	each(t, nil, func(t *testing.T, s *target.Target) {
		first := open(t, s)
		var want []string
		contents := map[storage.Key][]byte{}
		for _, name := range []string{"a", "b", "c"} {
			key := first.keyOf(t, component, endpoints, name)
			want = append(want, key.Key())
			contents[key] = pod(t, name, 1, 0)
		}
		if err := first.ReplaceComponentList(component, endpoints, namespace, contents); err != nil {
			t.Fatal(err)
		}
		keys, err := open(t, s).ListResourceKeysOfComponent(component, endpoints)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, key := range keys {
			got = append(got, key.Key())
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("after a restart yurthub knows %v, want %v", got, want)
		}
	})
}
