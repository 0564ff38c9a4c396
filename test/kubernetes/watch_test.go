package kubernetes

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
)

// seen is the part of an event that is compared: its type, object and resource version.
type seen struct {
	kind          watch.EventType
	name, version string
}

// checkWatchFrom changes objects and then watches from the version before. It must receive every change, in order, and
// nothing else.
func checkWatchFrom(t *testing.T, c *cluster) string {
	const objects = 20
	namespace := newNamespace(t, c, "history")
	begin := time.Now()
	for _, resource := range []schema.GroupVersionResource{cached, uncached} {
		client := c.api.dynamic.Resource(resource).Namespace(namespace)
		from, want := change(t, client, resource, namespace, objects)
		got := watchFrom(t, client, from, len(want))
		deletions(got, want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: events are\n%v\nwant\n%v", resource.Resource, got, want)
		}
		for i := range got[1:] {
			if version(t, got[i].version) >= version(t, got[i+1].version) {
				t.Errorf("%s: the event %v comes before %v", resource.Resource, got[i], got[i+1])
			}
		}
	}
	return fmt.Sprintf("%d events in %s", 2*3*objects, short(time.Since(begin)))
}

// change creates, updates and deletes objects. It returns the resource version before, and the events that a watch from
// there must receive.
func change(t *testing.T, client dynamic.ResourceInterface, resource schema.GroupVersionResource, namespace string,
	objects int) (from string, want []seen) {
	t.Helper()
	start, err := client.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	record := func(kind watch.EventType, object *unstructured.Unstructured, err error) {
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, seen{kind, object.GetName(), object.GetResourceVersion()})
	}
	for i := range objects {
		object := newObject(resource, namespace, fmt.Sprint("object-", i))
		object.SetLabels(map[string]string{"watched": "yes"})
		created, err := client.Create(t.Context(), object, metav1.CreateOptions{})
		record(watch.Added, created, err)
		created.SetAnnotations(map[string]string{"changed": "yes"})
		updated, err := client.Update(t.Context(), created, metav1.UpdateOptions{})
		record(watch.Modified, updated, err)
		if err := client.Delete(t.Context(), object.GetName(), metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		record(watch.Deleted, object, nil)
	}
	return start.GetResourceVersion(), want
}

// deletions copies the versions of deletions from got to want, because the answers to deletions lack them.
func deletions(got, want []seen) {
	for i := range got {
		if got[i].kind == watch.Deleted {
			want[i].version = got[i].version
		}
	}
}

// watchFrom returns the next n events after a resource version.
func watchFrom(t *testing.T, client dynamic.ResourceInterface, from string, n int) []seen {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w, err := client.Watch(ctx, metav1.ListOptions{ResourceVersion: from, LabelSelector: "watched=yes"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	var got []seen
	for len(got) < n {
		select {
		case <-ctx.Done():
			t.Fatalf("%d events of %d came", len(got), n)
		case event, ok := <-w.ResultChan():
			if !ok || event.Type == watch.Error {
				t.Fatalf("the watch ended after %d events of %d: %v", len(got), n, event.Object)
			}
			object, _ := event.Object.(*unstructured.Unstructured)
			if event.Type == watch.Deleted && object.GetAnnotations()["changed"] != "yes" {
				t.Errorf("the deletion of %s has not its last state", object.GetName())
			}
			got = append(got, seen{event.Type, object.GetName(), object.GetResourceVersion()})
		}
	}
	return got
}

// checkWatchLatency measures the time from a request that creates an object to its event.
func checkWatchLatency(t *testing.T, c *cluster) string {
	const objects = 100
	namespace := newNamespace(t, c, "latency")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	client := c.api.dynamic.Resource(cached).Namespace(namespace)
	w, err := client.Watch(ctx, metav1.ListOptions{LabelSelector: "watched=yes"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	var took []time.Duration
	for i := range objects {
		object := newObject(cached, namespace, fmt.Sprint("object-", i))
		object.SetLabels(map[string]string{"watched": "yes"})
		begin := time.Now()
		failed := make(chan error, 1)
		go func() {
			_, err := client.Create(ctx, object, metav1.CreateOptions{})
			failed <- err
		}()
		select {
		case <-ctx.Done():
			t.Fatalf("no event for %s", object.GetName())
		case event, ok := <-w.ResultChan():
			took = append(took, time.Since(begin))
			if got, _ := event.Object.(*unstructured.Unstructured); !ok || event.Type != watch.Added ||
				got.GetName() != object.GetName() {
				t.Fatalf("the event after the creation of %s is %v", object.GetName(), event)
			}
		}
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
	return percentiles(took)
}
