package hashkv_test

import (
	"testing"

	"github.com/stele-db/stele/logstructured/hashkv"
	"github.com/stele-db/stele/logstructured/log"
)

// hashOf returns the hash of entries without a selection.
func hashOf(t *testing.T, entries ...log.Entry) uint32 {
	t.Helper()
	h := hashkv.New()
	for i := range entries {
		if err := h.Add(&entries[i]); err != nil {
			t.Fatal(err)
		}
	}
	return h.Sum()
}

// TestSelectionFollowsEtcdsRule compares the sums of histories with the hashes of the entries that etcd would cover.
func TestSelectionFollowsEtcdsRule(t *testing.T) {
	put := func(key string, revision log.Revision) log.Entry {
		return log.Entry{Kind: log.KindPut, Key: []byte(key), Revision: revision, CreateRevision: revision, Version: 1}
	}
	tombstone := func(key string, revision log.Revision) log.Entry {
		return log.Entry{Kind: log.KindTombstone, Key: []byte(key), Revision: revision}
	}
	for name, test := range map[string]struct {
		compact                     log.Revision
		history, current, compacted []log.Entry
	}{
		"without a compaction all entries count": {
			-1, []log.Entry{put("a", 2), tombstone("a", 3), put("b", 4)},
			[]log.Entry{put("a", 2), tombstone("a", 3), put("b", 4)}, nil,
		},
		"a put that is current at the compact revision": {
			3, []log.Entry{put("a", 2), put("a", 3), put("b", 4)},
			[]log.Entry{put("a", 3), put("b", 4)}, []log.Entry{put("a", 3)},
		},
		"a put that is superseded after the compact revision": {
			3, []log.Entry{put("a", 3), put("a", 4)}, []log.Entry{put("a", 4)}, []log.Entry{put("a", 3)},
		},
		"a tombstone at the compact revision": {
			3, []log.Entry{put("a", 2), tombstone("a", 3), put("b", 4)}, []log.Entry{put("b", 4)}, nil,
		},
		"no key exists": {
			3, []log.Entry{put("a", 2), tombstone("b", 3), tombstone("a", 4)},
			[]log.Entry{put("a", 2), tombstone("a", 4)}, []log.Entry{put("a", 2)},
		},
		"entries above the current revision": {
			2, []log.Entry{put("a", 2), put("b", 10), put("a", 11)},
			[]log.Entry{put("a", 2), put("b", 10)}, []log.Entry{put("a", 2)},
		},
	} {
		h := hashkv.NewHistory(test.compact, 10)
		for i := range test.history {
			h.Observe(&test.history[i])
		}
		for i := range test.history {
			if err := h.Add(&test.history[i]); err != nil {
				t.Fatal(err)
			}
		}
		want := hashkv.Sums{Current: hashOf(t, test.current...), Compacted: hashOf(t, test.compacted...)}
		if got := h.Sums(); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}
