package kubernetes

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	toolswatch "k8s.io/client-go/tools/watch"
)

// expirySlack is how long after the end of its lease an event may be deleted. A store checks for expired leases twice a
// second, and this machine may be busy.
const expirySlack = 5 * time.Second

// expiry returns the shortest and the longest life of an event. The API server's leases last up to a twentieth longer
// than the TTL.
func expiry() (least, most time.Duration) {
	return eventTTL, eventTTL*105/100 + expirySlack
}

// checkEventsExpire creates an event and waits until it is deleted.
func checkEventsExpire(t *testing.T, c *cluster) string {
	namespace := newNamespace(t, c, "expiring")
	ended := watchExpiry(t, c, namespace, "undisturbed")
	begin := createEvent(t, c, namespace, "undisturbed")
	lived := (<-ended).Sub(begin)
	if least, most := expiry(); lived < least || lived > most {
		t.Errorf("the event was deleted after %v, want %v to %v", lived, least, most)
	}
	gone(t, c, namespace, "undisturbed")
	return "DELETED after " + short(lived)
}

// checkEventsExpireAcrossRestarts kills the store twice. No event may be deleted early, and each must be deleted at
// most its TTL after the store is back.
func checkEventsExpireAcrossRestarts(t *testing.T, c *cluster) string {
	const first, down = 12 * time.Second, 3 * time.Second
	earlier, later := newNamespace(t, c, "expiring-down"), newNamespace(t, c, "expiring-later")
	earlierEnded, laterEnded := watchExpiry(t, c, earlier, "ends-while-down"),
		watchExpiry(t, c, later, "survives-restarts")
	begin := createEvent(t, c, earlier, "ends-while-down")
	// The second event gets its own lease, because the lease of the first is too old by then.
	wait(t, begin.Add(eventTTL*2/10))
	laterBegin := createEvent(t, c, later, "survives-restarts")

	wait(t, begin.Add(first))
	restart(t, c, 0)
	// The lease of the first event ends while the store is down.
	wait(t, begin.Add(eventTTL-500*time.Millisecond))
	restart(t, c, down)
	up := time.Now()

	lived, laterLived := (<-earlierEnded).Sub(begin), (<-laterEnded).Sub(laterBegin)
	least, most := expiry()
	// When etcd starts, a lease begins again. Stele in mode ttl does not count pauses of the log before a start, which
	// may be jumps of the clock. In both, a key lives longer by at most its TTL.
	most, mostWhileDown := most+up.Sub(laterBegin), most+up.Sub(begin)
	if lived < least || lived > mostWhileDown {
		t.Errorf("the event that ended while the store was down was deleted after %v, want %v to %v", lived, least,
			mostWhileDown)
	}
	if laterLived < least || laterLived > most {
		t.Errorf("the event that was there in two restarts was deleted after %v, want %v to %v",
			laterLived, least, most)
	}
	gone(t, c, earlier, "ends-while-down")
	gone(t, c, later, "survives-restarts")
	return fmt.Sprintf("DELETED after %s; while the store was down, %s after it was back", short(laterLived),
		short(begin.Add(lived).Sub(up)))
}

// createEvent creates an event and returns the time before.
func createEvent(t *testing.T, c *cluster, namespace, name string) time.Time {
	t.Helper()
	begin := time.Now()
	if _, err := c.api.client.CoreV1().Events(namespace).Create(t.Context(), newEvent(namespace, name),
		metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return begin
}

func newEvent(namespace, name string) *corev1.Event {
	return &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Name: name},
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: "nobody", Namespace: namespace},
	}
}

// watchExpiry sends the time at which a watch shows the deletion of an event, or closes the channel without it. The
// watch resumes after the store was unreachable. It cannot resume if it has received no event since the last compaction
// but one, so watchExpiry keeps creating other events.
func watchExpiry(t *testing.T, c *cluster, namespace, name string) <-chan time.Time {
	t.Helper()
	client := c.api.client.CoreV1().Events(namespace)
	list, err := client.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*eventTTL)
	w, err := toolswatch.NewRetryWatcherWithContext(ctx, list.ResourceVersion, &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return client.Watch(ctx, options)
		},
	})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	ended := make(chan time.Time, 1)
	var wg sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		w.Stop()
		wg.Wait()
	})
	wg.Go(func() {
		defer cancel()
		defer close(ended)
		for event := range w.ResultChan() {
			if got, ok := event.Object.(*corev1.Event); ok && event.Type == watch.Deleted && got.Name == name {
				ended <- time.Now()
				return
			}
		}
	})
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			// The request may fail while the store is unreachable.
			_, _ = client.Create(ctx, newEvent(namespace, fmt.Sprint("meanwhile-", i)), metav1.CreateOptions{})
			select {
			case <-ctx.Done():
			case <-time.After(compactInterval / 10):
			}
		}
	})
	return ended
}

// gone fails the test if an event still exists.
func gone(t *testing.T, c *cluster, namespace, name string) {
	t.Helper()
	_, err := c.api.client.CoreV1().Events(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("%s was deleted, and is there: %v", name, err)
	}
}

// restart kills all servers of the store, and starts them again after the time down.
func restart(t *testing.T, c *cluster, down time.Duration) {
	t.Helper()
	if err := c.store.kill(); err != nil {
		t.Fatal(err)
	}
	wait(t, time.Now().Add(down))
	if err := c.store.launch(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// wait returns at the given time.
func wait(t *testing.T, until time.Time) {
	t.Helper()
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	case <-timer.C:
	}
}
