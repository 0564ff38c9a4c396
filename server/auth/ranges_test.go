package auth

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// A range is permitted exactly if each of its keys is. The keys are few, and made so that ranges touch, overlap and
// leave gaps.
func TestRanges(t *testing.T) {
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
	permitted := 0
	for range 4_000 {
		var rs ranges
		var text string
		var granted [][2]string
		for range random.IntN(5) {
			key, end := anyRange()
			granted = append(granted, [2]string{key, end})
			rs = rs.add([]byte(key), []byte(end))
			text += fmt.Sprintf("%q-%q ", key, end)
		}
		rs = rs.merge()
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
				covered := false
				for _, g := range granted {
					covered = covered || in(k, g[0], g[1])
				}
				want = want && covered
			}
		}
		if got := rs.contain([]byte(key), []byte(end)); got != want {
			t.Fatalf("%swith %q-%q: %v, want %v", text, key, end, got, want)
		}
		if want {
			permitted++
		}
	}
	if permitted < 200 {
		t.Errorf("only %d were permitted", permitted)
	}
	var rs ranges
	if rs = rs.add(nil, []byte{0}).add([]byte("b"), []byte("a")).merge(); len(rs) != 0 {
		t.Errorf("permissions on nothing became %q", rs)
	}
	if rs.contain([]byte("b"), []byte("a")) {
		t.Error("without permissions an empty range is permitted")
	}
	rs = rs.add([]byte("b"), []byte("d")).merge()
	for key, want := range map[string]bool{"a": false, "b": true, "c": true, "d": false} {
		if got := rs.contain([]byte(key), []byte("a")); got != want {
			t.Errorf("the empty range from %q is permitted: %v, want %v", key, got, want)
		}
	}
}
