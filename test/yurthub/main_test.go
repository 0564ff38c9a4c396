package yurthub

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/openyurtio/openyurt/pkg/yurthub/storage"
	"github.com/openyurtio/openyurt/pkg/yurthub/storage/etcd"
	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/klog/v2"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/test/internal/target"
)

func TestMain(m *testing.M) {
	klog.SetLogger(logr.Discard())
	os.Exit(database.Main(m))
}

// each runs test on etcd and on Stele; args are added to both command lines.
func each(t *testing.T, args []string, test func(t *testing.T, s *target.Target)) {
	t.Helper()
	if !target.Variant() {
		t.Run("etcd", func(t *testing.T) { test(t, target.Reference(t, args...)) })
	}
	t.Run("stele", func(t *testing.T) { test(t, target.Stele(t, args...)) })
}

const (
	prefix    = "/registry"
	mirror    = "/mirror/rv"
	component = "kubelet"
	namespace = "default"
)

var pods = schema.GroupVersionResource{Version: "v1", Resource: "pods"}

// hub is a yurthub's storage, with a client that reads its keys.
type hub struct {
	storage.Store
	client *clientv3.Client
}

func open(t *testing.T, s *target.Target) *hub {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	var endpoints []string
	for _, address := range s.Addresses {
		endpoints = append(endpoints, "http://"+address)
	}
	store, err := etcd.NewStorage(ctx, &etcd.EtcdStorageConfig{
		Prefix:        prefix,
		EtcdEndpoints: endpoints,
		LocalCacheDir: t.TempDir(),
		UnSecure:      true,
	})
	if err != nil {
		t.Fatalf("open the storage of yurthub: %v", err)
	}
	return &hub{store, s.Client(t)}
}

// key returns the key of a pod, or of all pods in the namespace if name is empty.
func (h *hub) key(t *testing.T, name string) storage.Key {
	t.Helper()
	return h.keyOf(t, component, pods, name)
}

func (h *hub) keyOf(t *testing.T, component string, gvr schema.GroupVersionResource, name string) storage.Key {
	t.Helper()
	key, err := h.KeyFunc(storage.KeyBuildInfo{
		Component: component, Group: gvr.Group, Version: gvr.Version, Resources: gvr.Resource,
		Namespace: namespace, Name: name,
	})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// pod returns an object with a resource version; padding makes it larger.
func pod(t *testing.T, name string, version uint64, padding int) []byte {
	t.Helper()
	object, err := json.Marshal(map[string]any{
		"apiVersion": "v1",
		"kind":       "Pod",
		"metadata": map[string]any{
			"name": name, "namespace": namespace, "resourceVersion": fmt.Sprint(version),
			"annotations": map[string]string{"padding": strings.Repeat("x", padding)},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return object
}

// entry is the state of an object in the store: the values of its key and of its mirror, and the revisions that wrote
// them; 0 if there is none.
type entry struct {
	value, mirror             string
	revision, mirrorRevision  int64
	version, mirrorKeyVersion int64
}

func (h *hub) entry(t *testing.T, key storage.Key) entry {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	response, err := h.client.Txn(ctx).Then(clientv3.OpGet(key.Key()), clientv3.OpGet(mirror+key.Key())).Commit()
	if err != nil {
		t.Fatal(err)
	}
	var e entry
	for _, kv := range response.Responses[0].GetResponseRange().Kvs {
		e.value, e.revision, e.version = string(kv.Value), kv.ModRevision, kv.Version
	}
	for _, kv := range response.Responses[1].GetResponseRange().Kvs {
		e.mirror, e.mirrorRevision, e.mirrorKeyVersion = string(kv.Value), kv.ModRevision, kv.Version
	}
	return e
}

// requireEntry checks that the store has the object with that version, written in one revision.
func (h *hub) requireEntry(t *testing.T, key storage.Key, value []byte, version uint64) entry {
	t.Helper()
	e := h.entry(t, key)
	if e.value != string(value) || e.mirror != fmt.Sprintf("%032d", version) {
		t.Fatalf("%s is %.200q with version %q, want %.200q with version %d", key.Key(), e.value, e.mirror,
			value, version)
	}
	if e.revision != e.mirrorRevision {
		t.Fatalf("%s was written in revision %d, its version in %d", key.Key(), e.revision, e.mirrorRevision)
	}
	return e
}
