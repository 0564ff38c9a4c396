package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// kills is the number of times that checkKills kills a server, between the pause before each.
const (
	kills   = 6
	between = 2 * time.Second
)

// checkKills kills the store repeatedly while objects are written and all pods are replaced. No acknowledged write may
// be lost, and watches and controllers must reach the final state. If there are several replicas, it kills one after
// the other, and each stays down for a while.
func checkKills(t *testing.T, c *cluster) string {
	namespace := newNamespace(t, c, "load")
	informer, stopInformer := watchLoad(t, c, namespace)
	defer stopInformer()
	before := podNames(t, c)

	l := newLoad(c, namespace)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { l.run(ctx) })
	end := func() {
		cancel()
		wg.Wait()
	}
	defer end()

	restartAll(t, c)
	for i := range kills {
		wait(t, time.Now().Add(between))
		one := c.store.servers[i%len(c.store.servers)]
		if err := one.Kill(); err != nil {
			t.Fatal(err)
		}
		if len(c.store.servers) > 1 {
			wait(t, time.Now().Add(between))
		}
		if err := one.Launch(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, time.Now().Add(between))
	end()

	var content map[string]string
	await(t, time.Minute, func(ctx context.Context) error {
		list, err := l.client.List(ctx, metav1.ListOptions{LabelSelector: "load=yes"})
		if err != nil {
			return err
		}
		content = map[string]string{}
		for i := range list.Items {
			content[list.Items[i].Name] = list.Items[i].Data[contentKey]
		}
		return nil
	})
	l.check(t, content)
	await(t, time.Minute, func(context.Context) error {
		if seen := informer(); !maps.Equal(seen, content) {
			return fmt.Errorf("a watch has %d objects, there are %d:\n%v\n%v", len(seen), len(content), seen, content)
		}
		return nil
	})
	await(t, 3*time.Minute, func(ctx context.Context) error {
		err := rolled(ctx, c, before)
		if err != nil {
			return errors.Join(err, nudge(ctx, c))
		}
		return nil
	})
	return fmt.Sprintf("%d kills, %v; %d pods replaced meanwhile", kills, l, scaledPods)
}

// nudge changes pods that kwok manages. Unlike a kubelet, kwok repeats an unanswered request only after the pod has
// changed.
func nudge(ctx context.Context, c *cluster) error {
	select {
	case <-ctx.Done():
	case <-time.After(time.Second):
	}
	client := c.api.client.CoreV1().Pods(metav1.NamespaceDefault)
	list, err := client.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"stele.test/nudged":"%d"}}}`, time.Now().UnixNano())
	for i := range list.Items {
		pod := &list.Items[i]
		if pod.Spec.NodeName == "" || pod.Status.Phase == corev1.PodRunning && pod.DeletionTimestamp == nil {
			continue
		}
		// The pod may be gone. The next call repeats a failed request.
		_, _ = client.Patch(ctx, pod.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	}
	return nil
}

// watchLoad watches the objects of the load as controllers do. content returns the watched state.
func watchLoad(t *testing.T, c *cluster, namespace string) (content func() map[string]string, end func()) {
	t.Helper()
	client := c.api.client.CoreV1().ConfigMaps(namespace)
	informer := cache.NewSharedInformer(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.LabelSelector = "load=yes"
			return client.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.LabelSelector = "load=yes"
			return client.Watch(ctx, options)
		},
	}, &corev1.ConfigMap{}, 0)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { informer.RunWithContext(ctx) })
	await(t, time.Minute, func(context.Context) error {
		if !informer.HasSynced() {
			return fmt.Errorf("the watch has not begun")
		}
		return nil
	})
	content = func() map[string]string {
		seen := map[string]string{}
		for _, object := range informer.GetStore().List() {
			if config, ok := object.(*corev1.ConfigMap); ok {
				seen[config.Name] = config.Data[contentKey]
			}
		}
		return seen
	}
	return content, func() {
		cancel()
		wg.Wait()
	}
}
