package logstructured

import (
	"testing"
	"time"
)

// TestGroupWithoutWritesWaits delays a group that writes nothing until the next request, but only if the group may have
// lost to the append before it.
func TestGroupWithoutWritesWaits(t *testing.T) {
	for _, test := range []struct {
		name     string
		requests int
		wrote    bool
		want     bool
	}{
		{"after an append of many", 64, true, true},
		{"after an append of few", 1, true, false},
		{"after a group that wrote nothing", 64, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGroupCommit()
			g.appended(time.Hour)
			g.answered(test.requests, 0, test.wrote)
			queue := make(chan *request, 1)
			if start := time.Now(); g.nextArrival(queue) != nil || time.Since(start) < maxGroupWait && test.want {
				t.Errorf("without another request the group waited for %v", time.Since(start))
			}
			queue <- &request{}
			if got := g.nextArrival(queue) != nil; got != test.want {
				t.Errorf("the next request goes with the group: %t, want %t", got, test.want)
			}
		})
	}
}

// TestMoveLast moves requests to the end of a batch, in their order.
func TestMoveLast(t *testing.T) {
	for _, test := range []struct{ given, want string }{
		{"", ""}, {"ab", "ab"}, {"A", "A"}, {"AB", "AB"}, {"Aab", "abA"}, {"aAbBc", "abcAB"}, {"abAB", "abAB"},
	} {
		var batch []*request
		for _, c := range test.given {
			batch = append(batch, &request{size: int64(c), last: c < 'a'})
		}
		moveLast(batch)
		got := ""
		for _, r := range batch {
			got += string(rune(r.size))
		}
		if got != test.want {
			t.Errorf("%q becomes %q, want %q", test.given, got, test.want)
		}
	}
}
