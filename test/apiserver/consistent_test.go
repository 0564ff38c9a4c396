package apiserver

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/apis/example"
	"k8s.io/apiserver/pkg/storage"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"
)

// runMarkConsistent checks that a cache answers lists at an exact revision itself, unless it differs from the store.
func runMarkConsistent(e *cacheEnv) {
	for i, step := range []struct {
		consistent, fromStore bool
	}{
		{consistent: true},
		{consistent: false, fromStore: true},
		{consistent: true},
	} {
		e.cacher.MarkConsistent(step.consistent)
		pod := &example.Pod{}
		name := fmt.Sprintf("pod-%d", i)
		if err := e.Create(e.ctx, podPrefix+"default/"+name,
			&example.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}, pod, 0); err != nil {
			e.Fatal(err)
		}
		ctx := context.WithValue(e.ctx, storagetesting.RecorderContextKey, name)
		list := &example.PodList{}
		if err := e.GetList(ctx, podPrefix, storage.ListOptions{
			Predicate:            storage.Everything,
			ResourceVersion:      pod.ResourceVersion,
			ResourceVersionMatch: metav1.ResourceVersionMatchExact,
			Recursive:            true,
		}, list); err != nil {
			e.Fatal(err)
		}
		if len(list.Items) != i+1 {
			e.Errorf("%d pods at revision %s, want %d", len(list.Items), pod.ResourceVersion, i+1)
		}
		want := 0
		if step.fromStore {
			want = 1
		}
		if got := len(e.recorder().ListRequestForKey(name)); got != want {
			e.Errorf("consistent is %v: %d lists went to the store, want %d", step.consistent, got, want)
		}
	}
}
