package migrate

import (
	"context"
	"fmt"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// answers are a server's answers about its history. They have no versions, which kine stores for one key only.
type answers struct {
	revision int64
	// lists are the keys at revisions from the compact one on, events the events after it.
	lists  map[int64][]string
	events []string
	// compactKey is the answer for the key that kine stores under another name, with its version.
	compactKey string
}

func text(kv *mvccpb.KeyValue) string {
	return fmt.Sprintf("%q=%q create %d mod %d lease %d", kv.Key, kv.Value, kv.CreateRevision, kv.ModRevision, kv.Lease)
}

// collect reads all that a client can read of "/registry/" from the compact revision on.
func collect(t *testing.T, c *clientv3.Client, compact int64) *answers {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	a := &answers{lists: map[int64][]string{}}
	now, err := c.Get(ctx, "/registry/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	a.revision = now.Header.Revision
	for at := compact; at <= a.revision; at++ {
		res, err := c.Get(ctx, "/registry/", clientv3.WithPrefix(), clientv3.WithRev(at))
		if err != nil {
			t.Fatalf("list at %d: %v", at, err)
		}
		if res.Count != int64(len(res.Kvs)) || res.Header.Revision != a.revision {
			t.Errorf("list at %d: count %d of %d keys, revision %d of %d", at, res.Count, len(res.Kvs),
				res.Header.Revision, a.revision)
		}
		for _, kv := range res.Kvs {
			a.lists[at] = append(a.lists[at], text(kv))
		}
	}
	if _, err := c.Get(ctx, "/registry/", clientv3.WithPrefix(), clientv3.WithRev(compact-1)); err == nil {
		t.Errorf("a list below the compact revision %d is answered", compact)
	}
	a.watch(ctx, t, c, compact+1)
	compactKey, err := c.Get(ctx, "compact_rev_key")
	if err != nil || len(compactKey.Kvs) != 1 {
		t.Fatalf("compact_rev_key: %v, %v", compactKey, err)
	}
	a.compactKey = fmt.Sprintf("%s version %d", text(compactKey.Kvs[0]), compactKey.Kvs[0].Version)
	return a
}

// watch reads all events from a revision on.
func (a *answers) watch(ctx context.Context, t *testing.T, c *clientv3.Client, from int64) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for res := range c.Watch(ctx, "/registry/", clientv3.WithPrefix(), clientv3.WithRev(from), clientv3.WithPrevKV()) {
		if err := res.Err(); err != nil {
			t.Fatalf("watch from %d: %v", from, err)
		}
		for _, e := range res.Events {
			event := fmt.Sprintf("%s %q at %d", e.Type, e.Kv.Key, e.Kv.ModRevision)
			if e.Type == clientv3.EventTypePut {
				event = text(e.Kv)
			}
			if e.PrevKv != nil && e.PrevKv.ModRevision >= from {
				event += fmt.Sprintf(", was %q at %d", e.PrevKv.Value, e.PrevKv.ModRevision)
			}
			a.events = append(a.events, event)
			if string(e.Kv.Key) == lastKey {
				return
			}
		}
	}
	t.Fatalf("the watch from %d ended early: %v", from, ctx.Err())
}
