package yurthub

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/openyurtio/openyurt/pkg/yurthub/storage"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/test/internal/stele"
	"github.com/stele-db/stele/test/internal/target"
)

// TestManyObjects checks the limit of operations. A nested transaction counts for its parent: an object costs one
// operation, and the deepest one also two comparisons and two puts.
func TestManyObjects(t *testing.T) {
	list := func(n int) map[string]uint64 {
		versions := map[string]uint64{}
		for i := range n {
			versions[fmt.Sprintf("pod-%04d", i)] = 1
		}
		return versions
	}
	const most, raised = 124, 1000
	t.Run("limit 128", func(t *testing.T) {
		each(t, nil, func(t *testing.T, s *target.Target) {
			h := open(t, s)
			if err := h.replace(t, list(most+1)); !errors.Is(err, rpctypes.ErrTooManyOps) {
				t.Errorf("a list of %d objects is answered with %v, want %v", most+1, err, rpctypes.ErrTooManyOps)
			}
			if _, err := h.List(h.key(t, "")); !errors.Is(err, storage.ErrStorageNotFound) {
				t.Errorf("a refused list left %v", err)
			}
			if err := open(t, s).replace(t, list(most)); err != nil {
				t.Errorf("a list of %d objects: %v", most, err)
			}
		})
	})
	t.Run("limit raised", func(t *testing.T) {
		each(t, []string{"--max-txn-ops", "10000"}, func(t *testing.T, s *target.Target) {
			h := open(t, s)
			changes := h.watch(t)
			if err := h.replace(t, list(raised)); err != nil {
				t.Fatal(err)
			}
			if r := changes.next(t); len(r.Events) != 2*raised {
				t.Errorf("the watcher saw %d events in a step, want %d", len(r.Events), 2*raised)
			}
			got, err := h.List(h.key(t, ""))
			if err != nil || len(got) != raised {
				t.Errorf("the list has %d objects, %v", len(got), err)
			}
			if err := h.DeleteComponentResources(component); err != nil {
				t.Fatal(err)
			}
			if r := changes.next(t); len(r.Events) != 2*raised {
				t.Errorf("the watcher saw %d events of the deletion in a step, want %d", len(r.Events), 2*raised)
			}
		})
	})
}

// TestLargeList writes a large list. yurthub sends and receives messages of up to 100 MiB, and waits 5 s. Each object
// of a list is in both branches of its transaction.
func TestLargeList(t *testing.T) {
	const objects, size = 49, 1 << 20
	if kind := stele.Kind(); kind == database.MariaDB || kind == database.Galera {
		raisePacket(t, 128<<20)
	}
	each(t, []string{"--max-request-bytes", fmt.Sprint(100 << 20)}, func(t *testing.T, s *target.Target) {
		h := open(t, s)
		contents := map[storage.Key][]byte{}
		for i := range objects {
			name := fmt.Sprintf("pod-%02d", i)
			contents[h.key(t, name)] = pod(t, name, 1, size)
		}
		if err := h.ReplaceComponentList(component, pods, namespace, contents); err != nil {
			t.Fatal(err)
		}
		first := h.entry(t, h.key(t, "pod-00"))
		for key, content := range contents {
			if e := h.requireEntry(t, key, content, 1); e.revision != first.revision {
				t.Fatalf("%s was written in revision %d, pod-00 in %d", key.Key(), e.revision, first.revision)
			}
		}
		got, err := h.List(h.key(t, ""))
		if err != nil || len(got) != objects {
			t.Fatalf("the list has %d objects, %v", len(got), err)
		}
	})
}

func TestTooLarge(t *testing.T) {
	each(t, nil, func(t *testing.T, s *target.Target) {
		h := open(t, s)
		key := h.key(t, "nginx")
		// The sizes exceed etcd's limit of a request, and that of a message.
		for _, size := range []int{1700_000, 3 << 20} {
			err := h.Create(key, pod(t, "nginx", 1, size))
			if err == nil || !strings.Contains(err.Error(), "larger than max") &&
				!errors.Is(err, rpctypes.ErrRequestTooLarge) {
				t.Errorf("an object of %d bytes is answered with %v", size, err)
			}
			if e := h.entry(t, key); e != (entry{}) {
				t.Errorf("the refused object has %d bytes", len(e.value))
			}
		}
	})
}
