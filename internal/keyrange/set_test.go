package keyrange

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestSetCoversRangesOfItsKeys checks that a set covers a range exactly if it holds each of its keys. The keys are few,
// and made so that ranges touch, overlap and leave gaps.
func TestSetCoversRangesOfItsKeys(t *testing.T) {
	keys := []string{"a", "a\x00", "a\x00\x00", "b", "b\x00", "c", "c\x00", "d", "\xff", "\xff\x00"}
	bounds := []string{"", "\x00", "a", "a\x00", "b", "b\x00", "c", "d", "\xff"}
	random := rand.New(rand.NewPCG(7, 7))
	anyRange := func() (key, end string) { return keys[random.IntN(len(keys))], bounds[random.IntN(len(bounds))] }
	in := func(k, key, end string) bool {
		switch end {
		case "":
			return k == key
		case "\x00":
			return k >= key
		}
		return key <= k && k < end
	}
	covered := 0
	for range 4_000 {
		var ranges, others []Range
		var text string
		var granted [][2]string
		for range random.IntN(5) {
			key, end := anyRange()
			granted = append(granted, [2]string{key, end})
			if r := (Range{[]byte(key), []byte(end)}); random.IntN(2) == 0 {
				ranges = append(ranges, r)
			} else {
				others = append(others, r)
			}
			text += fmt.Sprintf("%q-%q ", key, end)
		}
		set := NewSet(ranges).Union(NewSet(others))
		key, end := anyRange()
		if end != "" && end != "\x00" && end <= key {
			continue // empty: see below
		}
		// k+"\x00\x00\x01" stands for the keys between k and the next key of the list.
		want := true
		for _, k := range keys {
			for _, k := range []string{k, k + "\x00\x00\x01"} {
				if !in(k, key, end) {
					continue
				}
				held := false
				for _, g := range granted {
					held = held || in(k, g[0], g[1])
				}
				if set.Contains([]byte(k)) != held {
					t.Fatalf("%scontains %q: %v, want %v", text, k, !held, held)
				}
				want = want && held
			}
		}
		if got := set.Covers(Range{[]byte(key), []byte(end)}); got != want {
			t.Fatalf("%swith %q-%q: %v, want %v", text, key, end, got, want)
		}
		if want {
			covered++
		}
	}
	if covered < 200 {
		t.Errorf("only %d were covered", covered)
	}
	if set := NewSet([]Range{{[]byte("b"), []byte("a")}}); len(set) != 0 {
		t.Errorf("an empty range became %q", set)
	}
	empty := Range{[]byte("b"), []byte("a")}
	if Set(nil).Covers(empty) {
		t.Error("an empty set covers an empty range")
	}
	set := NewSet([]Range{{[]byte("b"), []byte("d")}})
	for key, want := range map[string]bool{"a": false, "b": true, "c": true, "d": false} {
		if got := set.Covers(Range{[]byte(key), []byte("a")}); got != want {
			t.Errorf("the empty range from %q is covered: %v, want %v", key, got, want)
		}
	}
}
