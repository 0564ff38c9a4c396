package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/stele-db/stele/test/internal/connect"
)

// version returns a resource version as a revision.
func version(t *testing.T, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// cacheCompaction is the interval at which the API server reads the compact revision to trim its caches.
const cacheCompaction = 15 * time.Second

// checkCompaction waits until the API server has compacted a revision. The store then refuses to read that revision,
// and so does the API server for lists from the store. Its caches follow later.
func checkCompaction(t *testing.T, c *cluster) string {
	namespace := newNamespace(t, c, "compacted")
	kinds := []schema.GroupVersionResource{uncached, cached}
	var revision string
	old := map[schema.GroupVersionResource][]metav1.ListOptions{}
	for _, resource := range kinds {
		client := c.api.dynamic.Resource(resource).Namespace(namespace)
		for i := range 10 {
			if _, err := client.Create(t.Context(), newObject(resource, namespace, fmt.Sprint("object-", i)),
				metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		first, err := client.List(t.Context(), metav1.ListOptions{Limit: 5})
		if err != nil {
			t.Fatal(err)
		}
		revision = first.GetResourceVersion()
		old[resource] = []metav1.ListOptions{
			{ResourceVersion: revision, ResourceVersionMatch: metav1.ResourceVersionMatchExact, Limit: 5},
			{Limit: 5, Continue: first.GetContinue()},
		}
		for _, options := range old[resource] {
			if _, err := client.List(t.Context(), options); err != nil {
				t.Fatalf("%s at %s before the compaction: %v", resource.Resource, revision, err)
			}
		}
	}
	createConfigMap(t, c, namespace, "later", nil)

	store := connect.Client(t, c.store.targets...)
	awaitCompaction(t, store, version(t, revision))
	compacted := time.Now()
	measured := "410"
	for _, resource := range kinds {
		client := c.api.dynamic.Resource(resource).Namespace(namespace)
		for i, options := range old[resource] {
			await(t, cacheCompaction+10*time.Second, func(ctx context.Context) error {
				_, err := client.List(ctx, options)
				switch {
				case apierrors.IsResourceExpired(err) || apierrors.IsGone(err):
					return nil
				case err != nil:
					return err
				}
				err = fmt.Errorf("%s: list %d at revision %s is answered after the compaction",
					resource.Resource, i, revision)
				if resource == uncached {
					return stop{err}
				}
				return err
			})
		}
		measured += fmt.Sprintf(" for %s after %s", resource.Resource, short(time.Since(compacted)))
	}
	// A list of the current objects succeeds as before.
	list, err := c.api.dynamic.Resource(cached).Namespace(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) < 11 {
		t.Errorf("the list after the compaction: %v, %v", list, err)
	}
	return measured
}

// awaitCompaction returns when the store refuses to read a revision.
func awaitCompaction(t *testing.T, store *clientv3.Client, revision int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*compactInterval)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := store.Get(ctx, "/registry/health", clientv3.WithRev(revision))
		if errors.Is(err, rpctypes.ErrCompacted) {
			return
		}
		if err != nil {
			t.Fatalf("waiting for the compaction of revision %d: %v", revision, err)
		}
		select {
		case <-ctx.Done():
			t.Fatalf("revision %d was not compacted in %v", revision, 4*compactInterval)
		case <-tick.C:
		}
	}
}
