package yurthub

import (
	"bytes"
	"errors"
	"testing"

	"github.com/openyurtio/openyurt/pkg/yurthub/storage"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/stele-db/stele/test/internal/target"
)

func TestCreate(t *testing.T) {
	each(t, nil, func(t *testing.T, s *target.Target) {
		h := open(t, s)
		key, first := h.key(t, "nginx"), pod(t, "nginx", 100, 0)
		if err := h.Create(key, first); err != nil {
			t.Fatal(err)
		}
		written := h.requireEntry(t, key, first, 100)
		if err := h.Create(key, pod(t, "nginx", 200, 0)); !errors.Is(err, storage.ErrKeyExists) {
			t.Fatalf("creating an existing object: %v", err)
		}
		if now := h.requireEntry(t, key, first, 100); now != written {
			t.Fatalf("a refused creation changed %+v to %+v", written, now)
		}
		got, err := h.Get(key)
		if err != nil || !bytes.Equal(got, first) {
			t.Fatalf("get answers %q, %v", got, err)
		}
	})
}

func TestUpdate(t *testing.T) {
	each(t, nil, func(t *testing.T, s *target.Target) {
		h := open(t, s)
		key := h.key(t, "nginx")
		if _, err := h.Update(key, pod(t, "nginx", 1, 0), 1); !errors.Is(err, storage.ErrStorageNotFound) {
			t.Fatalf("updating a missing object: %v", err)
		}
		if e := h.entry(t, key); e != (entry{}) {
			t.Fatalf("the refused update left %+v", e)
		}
		current := pod(t, "nginx", 9, 0)
		if err := h.Create(key, current); err != nil {
			t.Fatal(err)
		}
		// Versions are compared as text: with 32 digits 10 is greater than 9.
		for _, version := range []uint64{10, 99, 100, 1 << 62} {
			next := pod(t, "nginx", version, 0)
			got, err := h.Update(key, next, version)
			if err != nil || !bytes.Equal(got, next) {
				t.Fatalf("the update to %d answers %q, %v", version, got, err)
			}
			current = next
			written := h.requireEntry(t, key, current, version)
			for _, stale := range []uint64{version, version - 1, 1} {
				got, err := h.Update(key, pod(t, "nginx", stale, 0), stale)
				if !errors.Is(err, storage.ErrUpdateConflict) || !bytes.Equal(got, current) {
					t.Fatalf("the update from %d to %d answers %q, %v, want a conflict and the stored object", version,
						stale, got, err)
				}
			}
			if now := h.requireEntry(t, key, current, version); now != written {
				t.Fatalf("a refused update changed %+v to %+v", written, now)
			}
		}
	})
}

func TestDelete(t *testing.T) {
	each(t, nil, func(t *testing.T, s *target.Target) {
		h := open(t, s)
		key := h.key(t, "nginx")
		if err := h.Create(key, pod(t, "nginx", 1, 0)); err != nil {
			t.Fatal(err)
		}
		changes := h.watch(t)
		if err := h.Delete(key); err != nil {
			t.Fatal(err)
		}
		changes.step(t, map[string]bool{key.Key(): false, mirror + key.Key(): false})
		if _, err := h.Get(key); !errors.Is(err, storage.ErrStorageNotFound) {
			t.Fatalf("get of a deleted object: %v", err)
		}
		if err := h.Delete(key); err != nil {
			t.Fatalf("deleting it again: %v", err)
		}
		changes.none(t, h)
	})
}

func TestList(t *testing.T) {
	each(t, nil, func(t *testing.T, s *target.Target) {
		h := open(t, s)
		if _, err := h.List(h.key(t, "")); !errors.Is(err, storage.ErrStorageNotFound) {
			t.Fatalf("an empty list: %v", err)
		}
		var want [][]byte
		for _, name := range []string{"a", "b", "c"} {
			want = append(want, pod(t, name, 1, 0))
			if err := h.Create(h.key(t, name), want[len(want)-1]); err != nil {
				t.Fatal(err)
			}
		}
		got, err := h.List(h.key(t, ""))
		if err != nil || !bytes.Equal(bytes.Join(got, nil), bytes.Join(want, nil)) {
			t.Fatalf("the list is %q, %v", got, err)
		}
		keys, err := h.client.Get(t.Context(), prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil {
			t.Fatal(err)
		}
		if len(keys.Kvs) != len(want) {
			t.Fatalf("there are %d keys, want %d", len(keys.Kvs), len(want))
		}
		for i, kv := range keys.Kvs {
			if key := h.key(t, string("abc"[i])).Key(); string(kv.Key) != key || len(kv.Value) != 0 ||
				kv.ModRevision == 0 {
				t.Errorf("keys only: %v, want %s without value", kv, key)
			}
		}
	})
}
