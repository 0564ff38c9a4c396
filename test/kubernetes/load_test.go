package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
)

// The load: several writers, each of which has its own objects.
const (
	writers         = 6
	objectsOfWriter = 20
	contentKey      = "content"
)

// load creates, updates and deletes objects, and records the expected state of each.
type load struct {
	client typedcorev1.ConfigMapInterface

	mu sync.Mutex
	// acknowledged is the content of each existing object.
	acknowledged map[string]string
	// requests is the number of requests, unknown the number of those without a conclusive answer.
	requests, unknown int
	// last is the time of the last successful request, gap the longest time between two.
	last time.Time
	gap  time.Duration
	// lost has an error for each object that was not in its expected state.
	lost []error
}

func newLoad(c *cluster, namespace string) *load {
	return &load{
		client: c.api.client.CoreV1().ConfigMaps(namespace), acknowledged: map[string]string{}, last: time.Now(),
	}
}

// run writes until ctx ends.
func (l *load) run(ctx context.Context) {
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				name := fmt.Sprintf("writer-%d-%d", w, i%objectsOfWriter)
				// The writer creates, updates and deletes its objects in turn, one round each.
				l.write(name, fmt.Sprint(i), i/objectsOfWriter%3 == 2)
			}
		})
	}
	wg.Wait()
}

// write changes one object and records the answer. The end of the load does not cancel it, so that the outcome is
// known.
func (l *load) write(name, content string, remove bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	before, exists := l.known(name)
	var err error
	switch object := newConfigMap(name, content); {
	case remove && exists:
		err = l.client.Delete(ctx, name, metav1.DeleteOptions{})
	case remove:
		return
	case exists:
		_, err = l.client.Update(ctx, object, metav1.UpdateOptions{})
	default:
		_, err = l.client.Create(ctx, object, metav1.CreateOptions{})
	}
	l.count(err)
	switch {
	case err == nil:
		l.keep(name, content, !remove)
	case apierrors.IsNotFound(err) || apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err):
		// No other writer changes the object, and its state was known.
		l.fail(fmt.Errorf("%s, which was %q (there: %t): %w", name, before, exists, err))
		fallthrough
	default:
		l.settle(ctx, name, content, remove)
	}
}

// settle reads an object after a write without an answer, until it gets an answer. The object must be as before the
// write or as written.
func (l *load) settle(ctx context.Context, name, content string, remove bool) {
	before, existed := l.known(name)
	for {
		got, err := l.client.Get(ctx, name, metav1.GetOptions{})
		switch {
		case err == nil:
			now := got.Data[contentKey]
			if (remove || now != content) && (!existed || now != before) {
				l.fail(fmt.Errorf("%s is %q, was %q (there: %t), and was written as %q (removed: %t)", name, now,
					before, existed, content, remove))
			}
			l.keep(name, now, true)
			return
		case apierrors.IsNotFound(err):
			if existed && !remove {
				l.fail(fmt.Errorf("%s, which was %q, is lost", name, before))
			}
			l.keep(name, "", false)
			return
		}
		select {
		case <-ctx.Done():
			l.fail(fmt.Errorf("%s cannot be read: %w", name, err))
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (l *load) known(name string) (content string, exists bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	content, exists = l.acknowledged[name]
	return content, exists
}

func (l *load) keep(name, content string, exists bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if exists {
		l.acknowledged[name] = content
	} else {
		delete(l.acknowledged, name)
	}
}

func (l *load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = append(l.lost, err)
}

func (l *load) count(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests++
	if err != nil {
		l.unknown++
		return
	}
	l.gap = max(l.gap, time.Since(l.last))
	l.last = time.Now()
}

// check compares the objects with the expected states. The load must have stopped.
func (l *load) check(t *testing.T, content map[string]string) {
	t.Helper()
	for _, err := range l.lost {
		t.Error(err)
	}
	for name, want := range l.acknowledged {
		if got, ok := content[name]; !ok || got != want {
			t.Errorf("%s is %q (there: %t), want %q", name, got, ok, want)
		}
	}
	for name := range content {
		if _, ok := l.acknowledged[name]; !ok {
			t.Errorf("%s is there, and was deleted", name)
		}
	}
	if l.requests-l.unknown < 100 {
		t.Error(errors.New("there was no load to speak of"))
	}
}

// String summarizes the load.
func (l *load) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("%d writes, %d without an answer, none lost, longest pause %s", l.requests,
		l.unknown, short(l.gap))
}

// newConfigMap returns an object of the load.
func newConfigMap(name, content string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"load": "yes"}},
		Data:       map[string]string{contentKey: content},
	}
}
