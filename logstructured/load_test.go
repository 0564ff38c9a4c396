package logstructured

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestSortKeys sorts keys that are prefixes of each other, keys with NULs where shorter ones end, and keys with long
// common prefixes.
func TestSortKeys(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		seen := map[string]bool{}
		var got []sortKey
		var want [][]byte
		prefix := bytes.Repeat([]byte{'p'}, rnd.IntN(20))
		for range 100 {
			key := slices.Clone(prefix)
			for range rnd.IntN(20) {
				key = append(key, "\x00\x00\x01\xff"[rnd.IntN(4)])
			}
			if len(key) > 0 && !seen[string(key)] {
				seen[string(key)] = true
				got = append(got, sortKey{key: &keyIndex{key: key}})
				want = append(want, key)
			}
		}
		sortKeys(got, 0, make(chan struct{}, 1))
		slices.SortFunc(want, bytes.Compare)
		for i := range want {
			if !bytes.Equal(got[i].key.key, want[i]) {
				t.Fatalf("place %d of %d: %q, want %q", i, len(want), got[i].key.key, want[i])
			}
		}
	}
}
