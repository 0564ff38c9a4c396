package yurthub

import (
	"fmt"
	"slices"
	"testing"

	"github.com/openyurtio/openyurt/pkg/yurthub/storage"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/stele-db/stele/test/internal/target"
)

// replace gives the component a list of pods with these versions.
func (h *hub) replace(t *testing.T, versions map[string]uint64) error {
	t.Helper()
	contents := map[storage.Key][]byte{}
	for name, version := range versions {
		contents[h.key(t, name)] = pod(t, name, version, 0)
	}
	return h.ReplaceComponentList(component, pods, namespace, contents)
}

func TestReplace(t *testing.T) {
	each(t, nil, func(t *testing.T, s *target.Target) {
		h := open(t, s)
		changes := h.watch(t)
		names := func(put bool, names ...string) map[string]bool {
			keys := map[string]bool{}
			for _, name := range names {
				key := h.key(t, name).Key()
				keys[key], keys[mirror+key] = put, put
			}
			return keys
		}
		if err := h.replace(t, map[string]uint64{"fresh": 10, "stale": 20, "same": 30, "gone": 40}); err != nil {
			t.Fatal(err)
		}
		changes.step(t, names(true, "fresh", "stale", "same", "gone"))
		stale := h.requireEntry(t, h.key(t, "stale"), pod(t, "stale", 20, 0), 20)
		same := h.requireEntry(t, h.key(t, "same"), pod(t, "same", 30, 0), 30)

		if err := h.replace(t, map[string]uint64{"fresh": 11, "stale": 19, "same": 30, "new": 50}); err != nil {
			t.Fatal(err)
		}
		want := names(true, "fresh", "new")
		for key := range names(false, "gone") {
			want[key] = false
		}
		changes.step(t, want)
		fresh := h.requireEntry(t, h.key(t, "fresh"), pod(t, "fresh", 11, 0), 11)
		added := h.requireEntry(t, h.key(t, "new"), pod(t, "new", 50, 0), 50)
		if fresh.revision != added.revision || fresh.version != 2 || added.version != 1 {
			t.Errorf("one replacement wrote %+v and %+v", fresh, added)
		}
		if now := h.entry(t, h.key(t, "stale")); now != stale {
			t.Errorf("a stale object changed %+v to %+v", stale, now)
		}
		if now := h.entry(t, h.key(t, "same")); now != same {
			t.Errorf("an object of the same version changed %+v to %+v", same, now)
		}
		if e := h.entry(t, h.key(t, "gone")); e != (entry{}) {
			t.Errorf("an object that is not in the new list still exists: %+v", e)
		}
		// yurthub deletes the objects of the last replacement, so "new" remains.
		if err := h.DeleteComponentResources(component); err != nil {
			t.Fatal(err)
		}
		changes.step(t, names(false, "fresh", "stale", "same"))
		changes.none(t, h)
	})
}

// TestReplaceIsAtomic reads while lists are replaced: every read returns one list or another.
func TestReplaceIsAtomic(t *testing.T) {
	const rounds, size = 40, 20
	each(t, nil, func(t *testing.T, s *target.Target) {
		h := open(t, s)
		list := func(version uint64) map[string]uint64 {
			versions := map[string]uint64{}
			for i := range size {
				versions[fmt.Sprintf("pod-%02d", i)] = version
			}
			return versions
		}
		if err := h.replace(t, list(1)); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		var readers errgroup.Group
		reads := 0
		readers.Go(func() error {
			for {
				got, err := h.client.Get(t.Context(), mirror, clientv3.WithPrefix())
				if err != nil {
					return err
				}
				if len(got.Kvs) != size {
					return fmt.Errorf("a list has %d objects, want %d", len(got.Kvs), size)
				}
				for _, kv := range got.Kvs {
					if !slices.Equal(kv.Value, got.Kvs[0].Value) || kv.ModRevision != got.Kvs[0].ModRevision {
						return fmt.Errorf("a list has objects of two replacements: %v and %v", kv, got.Kvs[0])
					}
				}
				reads++
				select {
				case <-done:
					return nil
				default:
				}
			}
		})
		changes := h.watch(t)
		for round := range rounds {
			if err := h.replace(t, list(uint64(round+2))); err != nil {
				t.Fatal(err)
			}
			if r := changes.next(t); len(r.Events) != 2*size {
				t.Fatalf("the watcher saw %d events in a step, want %d", len(r.Events), 2*size)
			}
		}
		close(done)
		if err := readers.Wait(); err != nil {
			t.Fatal(err)
		}
		if reads < 2 {
			t.Errorf("%d reads in %d replacements", reads, rounds)
		}
	})
}
