package replicas

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// recorder watches a prefix from the first revision on and checks the events: every revision in order, each with one
// event. Therefore no other client may write at the same time.
type recorder struct {
	name string
	done chan struct{}

	mu       sync.Mutex
	revision int64
	values   map[string]string
	err      error
	// restarts counts the streams that the client had to open again.
	restarts int
}

// record watches until the end of the test.
func record(t *testing.T, name string, client *clientv3.Client, prefix string, from int64) *recorder {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &recorder{name: name, done: make(chan struct{}), revision: from - 1, values: map[string]string{}}
	events := client.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(from), clientv3.WithCreatedNotify())
	go func() {
		defer close(w.done)
		for r := range events {
			w.take(r)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-w.done
	})
	return w
}

func (w *recorder) take(r clientv3.WatchResponse) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Created {
		w.restarts++
	}
	if err := r.Err(); err != nil && w.err == nil {
		w.err = fmt.Errorf("the watch ended: %w", err)
	}
	for _, ev := range r.Events {
		if want := w.revision + 1; ev.Kv.ModRevision != want && w.err == nil {
			w.err = fmt.Errorf("an event of revision %d, want %d", ev.Kv.ModRevision, want)
		}
		w.revision = ev.Kv.ModRevision
		w.values[string(ev.Kv.Key)] = string(ev.Kv.Value)
	}
}

// reaches waits until all events up to revision have arrived, and fails the test on any violation.
func (w *recorder) reaches(t *testing.T, revision int64, within time.Duration) {
	t.Helper()
	eventually(t, within, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.err != nil {
			t.Fatalf("watcher on %s: %v", w.name, w.err)
		}
		if w.revision < revision {
			return fmt.Errorf("the watcher on %s has revision %d, want %d", w.name, w.revision, revision)
		}
		return nil
	})
}

// streams returns the number of streams that the client has opened.
func (w *recorder) streams() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.restarts
}

// load writes until it is stopped, one key at a time, through clients in turn.
type load struct {
	cancel context.CancelFunc
	done   chan struct{}

	// acknowledged are the values by key and the newest revision.
	acknowledged map[string]string
	revision     int64
	// failed counts the writes whose outcome is unknown or that were refused; silence is the longest time between two
	// acknowledgements.
	failed  int
	silence time.Duration
}

// write begins writing keys below prefix.
func write(t *testing.T, prefix string, clients ...*clientv3.Client) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{cancel: cancel, done: make(chan struct{}), acknowledged: map[string]string{}}
	go func() {
		defer close(l.done)
		last := time.Now()
		for i := 0; ctx.Err() == nil; i++ {
			key, value := fmt.Sprintf("%s%d", prefix, i), fmt.Sprint(i)
			r, err := clients[i%len(clients)].Put(ctx, key, value)
			if err != nil {
				l.failed++
				continue
			}
			l.acknowledged[key], l.revision = value, r.Header.Revision
			l.silence = max(l.silence, time.Since(last))
			last = time.Now()
		}
	}()
	t.Cleanup(l.stop)
	return l
}

func (l *load) stop() {
	l.cancel()
	<-l.done
}

// check verifies that client finds all acknowledged writes.
func (l *load) check(ctx context.Context, t *testing.T, client *clientv3.Client, prefix string) {
	t.Helper()
	all, err := client.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, kv := range all.Kvs {
		found[string(kv.Key)] = string(kv.Value)
	}
	lost := 0
	for key, value := range l.acknowledged {
		if found[key] != value {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d acknowledged writes are lost", lost, len(l.acknowledged))
	}
	if len(l.acknowledged) == 0 {
		t.Error("no write was acknowledged")
	}
}
