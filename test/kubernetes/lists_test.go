package kubernetes

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// The API server caches the first resource, and always reads the second one from the store.
var (
	cached   = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	uncached = schema.GroupVersionResource{Version: "v1", Resource: "events"}
)

// newObject returns the smallest object of a resource.
func newObject(resource schema.GroupVersionResource, namespace, name string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1",
		"kind":       "ConfigMap",
		"metadata":   map[string]any{"name": name, "namespace": namespace},
	}}
	if resource == uncached {
		object.SetKind("Event")
		object.Object["involvedObject"] = map[string]any{"kind": "Pod", "name": "nobody", "namespace": namespace}
	}
	return object
}

// checkConsistentLists lists all pods a hundred times during continuous writes.
func checkConsistentLists(t *testing.T, c *cluster) string {
	namespace := newNamespace(t, c, "lists")
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("config-", i)}}
			if _, err := c.api.client.CoreV1().ConfigMaps(namespace).Create(ctx, config,
				metav1.CreateOptions{}); err != nil && ctx.Err() == nil {
				t.Errorf("write: %v", err)
			}
		}
	})
	var took []time.Duration
	for range 100 {
		begin := time.Now()
		list, err := c.api.client.CoreV1().Pods(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(begin))
		if err := allRun(list, scaledPods); err != nil {
			t.Fatal(err)
		}
	}
	return percentiles(took)
}

// checkFreshCache lists right after each write. The API server answers from its cache once the cache includes the
// write. Every second write is to another resource, so that only a progress notification of the store shows that the
// cache is fresh.
func checkFreshCache(t *testing.T, c *cluster) string {
	const metric = "apiserver_watch_cache_read_wait_seconds"
	namespace := newNamespace(t, c, "fresh")
	before := scrape(t, c.api)
	var took []time.Duration
	for i := range 100 {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("secret-", i)}}
		if _, err := c.api.client.CoreV1().Secrets(namespace).Create(t.Context(), secret,
			metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if _, err := c.api.client.CoreV1().ConfigMaps(namespace).List(t.Context(), metav1.ListOptions{}); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(begin))
		created := createConfigMap(t, c, namespace, fmt.Sprint("config-", i), nil)
		list, err := c.api.client.CoreV1().ConfigMaps(namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for j := range list.Items {
			if list.Items[j].Name == created.Name {
				found++
			}
		}
		// The controllers add one more object to each namespace, the certificate of the cluster, at any time.
		if found != 1 || len(list.Items) < i+1 {
			t.Fatalf("a list after the write of %s has %d objects, it %d times", created.Name, len(list.Items), found)
		}
	}
	after := scrape(t, c.api)
	waited, count := after.histogram(metric, "configmaps")
	waitedBefore, countBefore := before.histogram(metric, "configmaps")
	if count == countBefore {
		t.Fatalf("no list of %d has waited for the cache: the API server does not read from it", len(took))
	}
	mean := time.Duration((waited - waitedBefore) / float64(count-countBefore) * float64(time.Second))
	return fmt.Sprintf("mean %s; the list %s", short(mean), percentiles(took))
}

// checkPagedLists reads pages while objects are created and deleted. All pages must have the revision of the first.
func checkPagedLists(t *testing.T, c *cluster) string {
	const total, page = 130, 50
	namespace := newNamespace(t, c, "pages")
	begin := time.Now()
	for _, resource := range []schema.GroupVersionResource{cached, uncached} {
		client := c.api.dynamic.Resource(resource).Namespace(namespace)
		selector := metav1.ListOptions{Limit: page, LabelSelector: "paged=yes"}
		create := func(name string) {
			object := newObject(resource, namespace, name)
			object.SetLabels(map[string]string{"paged": "yes"})
			if _, err := client.Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range total {
			create(fmt.Sprintf("object-%03d", i))
		}
		if n := remaining(t, client, page); n < total-page {
			t.Errorf("%s: %d objects remain after the first page, want %d or more", resource.Resource, n, total-page)
		}

		var revision string
		names := map[string]bool{}
		for pages := 1; ; pages++ {
			list, err := client.List(t.Context(), selector)
			if err != nil {
				t.Fatal(err)
			}
			for i := range list.Items {
				names[list.Items[i].GetName()] = true
			}
			if revision == "" {
				revision = list.GetResourceVersion()
			}
			if list.GetResourceVersion() != revision {
				t.Errorf("%s: page %d is of revision %s, the first of %s", resource.Resource, pages,
					list.GetResourceVersion(), revision)
			}
			if selector.Continue = list.GetContinue(); selector.Continue == "" {
				break
			}
			// One object is added on the next page, and one is removed.
			create(fmt.Sprintf("object-%03d-late", page*pages+1))
			if err := client.Delete(t.Context(), fmt.Sprintf("object-%03d", page*pages+2),
				metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range total {
			if name := fmt.Sprintf("object-%03d", i); !names[name] {
				t.Errorf("%s: %s is missing in the pages", resource.Resource, name)
			}
		}
		if len(names) != total {
			t.Errorf("%s: the pages have %d objects, want %d", resource.Resource, len(names), total)
		}
	}
	return short(time.Since(begin))
}

// remaining returns the remaining item count of the first page of all objects.
func remaining(t *testing.T, client dynamic.ResourceInterface, limit int64) int64 {
	t.Helper()
	list, err := client.List(t.Context(), metav1.ListOptions{Limit: limit})
	if err != nil {
		t.Fatal(err)
	}
	if n := list.GetRemainingItemCount(); n != nil {
		return *n
	}
	return -1
}
