package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
)

var (
	definitions = schema.GroupVersionResource{
		Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions",
	}
	things = schema.GroupVersionResource{Group: "stele.test", Version: "v1", Resource: "things"}
	leases = schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}
	// moved are the resources that the test compares.
	moved = []schema.GroupVersionResource{cached, uncached, things, leases}
)

const movedNamespace = "moved"

// before is the state that clients of an API server knew before the move of its store.
type before struct {
	// from is a resource version of events, history the events of a watch from there, then the objects at from.
	from    string
	history []seen
	then    map[string]string
	// stale is an object as it was before its latest change.
	stale *unstructured.Unstructured
	// objects has all objects of the namespace, by resource and name.
	objects map[string]string
	newest  int64
	// watching is an informer that runs during the move.
	watching *watching
}

// prepare creates, changes and watches objects, as clients do.
func prepare(t *testing.T, c *cluster) *before {
	t.Helper()
	newNamespace(t, c, movedNamespace)
	define(t, c)
	b := &before{}
	for i := range 20 {
		for _, resource := range moved {
			create(t, c, resource, fmt.Sprint("kept-", i))
		}
	}
	b.watching = startWatching(t, c)
	b.stale = get(t, c, cached, "kept-3")
	touch(t, c, cached, "kept-3")
	touch(t, c, things, "kept-4")
	b.then = list(t, c, uncached, "")
	b.from, b.history = change(t, c.api.dynamic.Resource(uncached).Namespace(movedNamespace), uncached,
		movedNamespace, 10)
	got := watchFrom(t, c.api.dynamic.Resource(uncached).Namespace(movedNamespace), b.from, len(b.history))
	deletions(got, b.history)
	return b
}

// finish records the objects just before the API server ends.
func (b *before) finish(t *testing.T, c *cluster) {
	t.Helper()
	b.objects = map[string]string{}
	for _, resource := range moved {
		for name, object := range list(t, c, resource, "") {
			b.objects[resource.Resource+"/"+name] = object
		}
	}
	last := create(t, c, cached, "last")
	b.newest = version(t, last.GetResourceVersion())
	b.objects["configmaps/last"] = text(t, last)
	await(t, 30*time.Second, func(context.Context) error { return b.watching.equal(b.objects) })
	b.watching.mark()
}

// compare checks the state after an API server has started on the copy.
func (b *before) compare(t *testing.T, c *cluster) {
	t.Helper()
	for _, resource := range moved {
		found := list(t, c, resource, "")
		for name, object := range found {
			if b.objects[resource.Resource+"/"+name] != object {
				t.Errorf("%s/%s is\n%s\nand was\n%s", resource.Resource, name, object,
					b.objects[resource.Resource+"/"+name])
			}
		}
		if want := 20; resource == cached {
			if _, ok := found["last"]; !ok || len(found) < want+1 {
				t.Errorf("%d config maps", len(found))
			}
		} else if len(found) != want {
			t.Errorf("%s: %d, want %d", resource.Resource, len(found), want)
		}
	}
	// The history must be unchanged.
	client := c.api.dynamic.Resource(uncached).Namespace(movedNamespace)
	if got := watchFrom(t, client, b.from, len(b.history)); !slices.Equal(got, b.history) {
		t.Errorf("a watch from %s shows\n%v\nwant\n%v", b.from, got, b.history)
	}
	then := list(t, c, uncached, b.from)
	for name, object := range b.then {
		if then[name] != object {
			t.Errorf("at %s event %s is\n%s\nand was\n%s", b.from, name, then[name], object)
		}
	}
	if len(then) != len(b.then) {
		t.Errorf("%d events at %s, want %d", len(then), b.from, len(b.then))
	}
	b.write(t, c)
	await(t, time.Minute, func(context.Context) error { return b.watching.equal(b.objects) })
	if wrong := b.watching.since(); len(wrong) > 0 {
		t.Errorf("the informer was shown %v", wrong)
	}
}

// write changes moved objects. Outdated updates must fail, and resource versions must increase.
func (b *before) write(t *testing.T, c *cluster) {
	t.Helper()
	client := c.api.dynamic.Resource(cached).Namespace(movedNamespace)
	b.stale.SetAnnotations(map[string]string{"stale": "yes"})
	if _, err := client.Update(t.Context(), b.stale, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("an update of what has changed since: %v", err)
	}
	old := b.stale.GetResourceVersion()
	if err := client.Delete(t.Context(), b.stale.GetName(),
		metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: &old}}); !apierrors.IsConflict(err) {
		t.Errorf("a deletion of what has changed since: %v", err)
	}
	for _, changed := range []*unstructured.Unstructured{touch(t, c, cached, "kept-3"), touch(t, c, things, "kept-5"),
		create(t, c, things, "new"), create(t, c, cached, "new")} {
		now := version(t, changed.GetResourceVersion())
		if now <= b.newest {
			t.Errorf("a write is at %d, after %d", now, b.newest)
		}
		b.newest = now
	}
	for _, name := range []string{"kept-3", "new"} {
		b.objects["configmaps/"+name] = text(t, get(t, c, cached, name))
	}
}

// define creates the resource things, and waits until it is served.
func define(t *testing.T, c *cluster) {
	t.Helper()
	definition := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "things.stele.test"},
		"spec": map[string]any{
			"group": "stele.test", "scope": "Namespaced",
			"names": map[string]any{"plural": "things", "singular": "thing", "kind": "Thing"},
			"versions": []any{map[string]any{
				"name": "v1", "served": true, "storage": true,
				"schema": map[string]any{
					"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true},
				},
			}},
		},
	}}
	if _, err := c.api.dynamic.Resource(definitions).Create(t.Context(), definition,
		metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, time.Minute, func(ctx context.Context) error {
		_, err := c.api.dynamic.Resource(things).Namespace(movedNamespace).List(ctx, metav1.ListOptions{})
		return err
	})
}

func create(t *testing.T, c *cluster, resource schema.GroupVersionResource, name string) *unstructured.Unstructured {
	t.Helper()
	object := newObject(resource, movedNamespace, name)
	switch resource {
	case things:
		object.SetAPIVersion("stele.test/v1")
		object.SetKind("Thing")
	case leases:
		object.SetAPIVersion("coordination.k8s.io/v1")
		object.SetKind("Lease")
	}
	var created *unstructured.Unstructured
	// The API server takes a while to serve a new resource everywhere.
	await(t, 30*time.Second, func(ctx context.Context) (err error) {
		created, err = c.api.dynamic.Resource(resource).Namespace(movedNamespace).Create(ctx, object,
			metav1.CreateOptions{})
		return err
	})
	return created
}

func get(t *testing.T, c *cluster, resource schema.GroupVersionResource, name string) *unstructured.Unstructured {
	t.Helper()
	object, err := c.api.dynamic.Resource(resource).Namespace(movedNamespace).Get(t.Context(), name,
		metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return object
}

// touch changes an object.
func touch(t *testing.T, c *cluster, resource schema.GroupVersionResource, name string) *unstructured.Unstructured {
	t.Helper()
	object := get(t, c, resource, name)
	object.SetAnnotations(map[string]string{"touched": object.GetResourceVersion()})
	updated, err := c.api.dynamic.Resource(resource).Namespace(movedNamespace).Update(t.Context(), object,
		metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return updated
}

// list returns the objects of the namespace by name, at a resource version. Empty means the current one.
func list(t *testing.T, c *cluster, resource schema.GroupVersionResource, at string) map[string]string {
	t.Helper()
	opts := metav1.ListOptions{}
	if at != "" {
		opts.ResourceVersion, opts.ResourceVersionMatch = at, metav1.ResourceVersionMatchExact
	}
	found, err := c.api.dynamic.Resource(resource).Namespace(movedNamespace).List(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	objects := map[string]string{}
	for i := range found.Items {
		objects[found.Items[i].GetName()] = text(t, &found.Items[i])
	}
	return objects
}

func text(t testing.TB, object *unstructured.Unstructured) string {
	t.Helper()
	content, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// watching is an informer of config maps, such as controllers use. It lists, watches, and lists again if it must.
type watching struct {
	t        *testing.T
	informer cache.SharedIndexInformer

	mu sync.Mutex
	// shown has the additions and deletions since the mark.
	shown []string
}

func startWatching(t *testing.T, c *cluster) *watching {
	t.Helper()
	factory := dynamicinformer.NewFilteredDynamicSharedInformerFactory(c.api.dynamic, 0, movedNamespace, nil)
	w := &watching{t: t, informer: factory.ForResource(cached).Informer()}
	_, err := w.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { w.show("added", object) },
		DeleteFunc: func(object any) { w.show("deleted", object) },
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() { w.informer.Run(done) })
	t.Cleanup(func() { close(done); running.Wait() })
	return w
}

func (w *watching) show(what string, object any) {
	name := fmt.Sprintf("%T", object)
	if o, ok := object.(*unstructured.Unstructured); ok {
		name = o.GetName()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shown = append(w.shown, what+" "+name)
}

// mark forgets the events so far.
func (w *watching) mark() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shown = nil
}

// since returns the unexpected events since the mark.
func (w *watching) since() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.shown), func(s string) bool { return s == "added new" })
}

// equal returns an error unless the informer has exactly the given config maps.
func (w *watching) equal(objects map[string]string) error {
	have := 0
	for _, object := range w.informer.GetStore().List() {
		o, ok := object.(*unstructured.Unstructured)
		if !ok {
			return fmt.Errorf("the informer has a %T", object)
		}
		if want := objects["configmaps/"+o.GetName()]; text(w.t, o) != want {
			return fmt.Errorf("the informer has\n%s\nwant\n%s", text(w.t, o), want)
		}
		have++
	}
	for name := range objects {
		if len(name) > len("configmaps/") && name[:len("configmaps/")] == "configmaps/" {
			have--
		}
	}
	if have != 0 {
		return fmt.Errorf("the informer has %+d config maps more than there are", have)
	}
	return nil
}
