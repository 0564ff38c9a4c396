package yurthub

import (
	"context"
	"maps"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// changes are the events of all keys, as a watcher receives them.
type changes struct{ responses clientv3.WatchChan }

// watch begins with the next change.
func (h *hub) watch(t *testing.T) *changes {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	now, err := h.client.Get(ctx, "none")
	if err != nil {
		t.Fatal(err)
	}
	return &changes{h.client.Watch(ctx, "/", clientv3.WithPrefix(), clientv3.WithRev(now.Header.Revision+1))}
}

// step checks the next response: the keys in it, with true for a put and false for a deletion, all in one revision.
func (c *changes) step(t *testing.T, want map[string]bool) {
	t.Helper()
	r := c.next(t)
	got := map[string]bool{}
	for _, event := range r.Events {
		got[string(event.Kv.Key)] = event.Type == clientv3.EventTypePut
		if event.Kv.ModRevision != r.Events[0].Kv.ModRevision {
			t.Errorf("%s is of revision %d, others in the same step of %d", event.Kv.Key, event.Kv.ModRevision,
				r.Events[0].Kv.ModRevision)
		}
	}
	if len(r.Events) != len(want) || !maps.Equal(got, want) {
		t.Fatalf("the watcher saw %v in %d events, want %v", got, len(r.Events), want)
	}
}

// none checks that there was no event: the next one is that of its own put.
func (c *changes) none(t *testing.T, h *hub) {
	t.Helper()
	if _, err := h.client.Put(t.Context(), "/end", ""); err != nil {
		t.Fatal(err)
	}
	c.step(t, map[string]bool{"/end": true})
}

func (c *changes) next(t *testing.T) clientv3.WatchResponse {
	t.Helper()
	select {
	case r, ok := <-c.responses:
		if !ok || r.Err() != nil {
			t.Fatalf("the watch ended: %v", r.Err())
		}
		return r
	case <-time.After(30 * time.Second):
		t.Fatal("no event after 30 s")
		return clientv3.WatchResponse{}
	}
}
