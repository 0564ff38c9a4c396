package logstructured

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"
)

// hubStore returns a store that is its hub and no more, at revision 1.
func hubStore(t testing.TB) *Store {
	t.Helper()
	m, err := newMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &Store{
		shared:   &shared{hub: newHub(m), behind: make(chan struct{}, 1), opts: Options{}.withDefaults()},
		timeouts: newTimeouts(time.Hour),
	}
	s.watch = s.newWatchInputs()
	s.hub.publish(&snapshot{view: view{revision: 1, compact: -1}})
	return s
}

// put publishes a snapshot with one more row.
func (s *Store) put(key string) {
	next := *s.snapshot()
	next.revision++
	r := &row{key: []byte(key), revision: next.revision, create: next.revision, version: 1}
	r.value.Store(&cachedValue{})
	next.history = append(next.history, r)
	s.hub.publish(&next)
}

// work returns how much it takes to mark everything that is published, in watchers marked, streams woken and groups
// visited.
func (h *hub) work() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.advance(1) {
		n++
	}
	return n
}

func (ws *WatchStream) mustCreate(t testing.TB, r WatchRequest) {
	t.Helper()
	ws.hub.mu.Lock()
	defer ws.hub.mu.Unlock()
	if response := ws.create(r, Unguarded, ws.hub.marked); response.Err != nil {
		t.Fatal(response.Err)
	}
}

func distinct(i int) KeyRange {
	return KeyRange{Key: fmt.Appendf(nil, "/r/%06d/", i), End: fmt.Appendf(nil, "/r/%06d0", i)}
}

// TestMarkingVisitsMatchesOnly counts the work for a row among very many watchers, of which one or none match.
func TestMarkingVisitsMatchesOnly(t *testing.T) {
	const ranges, streams = 100_000, 20_000
	s := hubStore(t)
	all := make([]*WatchStream, streams)
	for i := range all {
		all[i] = s.NewWatchStream()
	}
	for i := range ranges {
		all[i%streams].mustCreate(t, WatchRequest{KeyRange: distinct(i)})
	}
	s.hub.budget = 0 // only work marks
	for _, test := range []struct {
		name, key string
		most      int
	}{
		{"a row that one range matches", "/r/012345/x", 100},
		{"a row whose watcher is marked", "/r/012345/y", 100},
		{"a row before all ranges", "/a", 10},
		{"a row after all ranges", "/z", 10},
		{"a row between ranges", "/r/0123450", 100},
	} {
		s.put(test.key)
		if n := s.hub.work(); n > test.most {
			t.Errorf("%s takes %d steps, want %d at most", test.name, n, test.most)
		}
	}
	for i, ws := range all {
		if marked := ws.unsynced.head != nil || ws.upcoming.head != nil; marked != (i == 12345) {
			t.Errorf("stream %d is marked: %t", i, marked)
		}
	}
}

// TestMarkingSkipsMarkedWatchers publishes rows for very many watchers that are not read. The second row must cost
// nothing more.
func TestMarkingSkipsMarkedWatchers(t *testing.T) {
	const watchers = 20_000
	everything := KeyRange{Key: []byte{0}, End: []byte{0}}
	for name, r := range map[string]func(i int) WatchRequest{
		"of one key":   func(int) WatchRequest { return WatchRequest{KeyRange: KeyRange{Key: []byte("k")}} },
		"of one range": func(int) WatchRequest { return WatchRequest{KeyRange: everything} },
		"of ranges within another": func(i int) WatchRequest {
			return WatchRequest{KeyRange: KeyRange{Key: fmt.Appendf(nil, "a%06d", i), End: []byte{0}}}
		},
	} {
		s := hubStore(t)
		ws := s.NewWatchStream()
		for i := range watchers {
			ws.mustCreate(t, r(i))
		}
		s.hub.budget = 0
		s.put("k")
		if n := s.hub.work(); n < watchers {
			t.Errorf("%s: the first row takes %d steps", name, n)
		}
		s.put("k")
		if n := s.hub.work(); n > 10 {
			t.Errorf("%s: the second row takes %d steps", name, n)
		}
		// Watchers that the row does not concern cost nothing either.
		for i := range watchers {
			filtered, future := r(i), r(i)
			filtered.NoPut = true
			future.StartRevision = 1000
			ws.mustCreate(t, filtered)
			ws.mustCreate(t, future)
		}
		s.put("k")
		if n := s.hub.work(); n > 10 {
			t.Errorf("%s: the third row takes %d steps", name, n)
		}
	}
}

// TestMarkingAndOldest compares the oldest unread revision with the watchers, in every slice of a round.
func TestMarkingAndOldest(t *testing.T) {
	s := hubStore(t)
	h := s.hub
	ws := s.NewWatchStream()
	for range 10 {
		ws.mustCreate(t, WatchRequest{KeyRange: KeyRange{Key: []byte("k")}})
	}
	h.budget = 0
	s.put("k")
	s.put("k")
	if got := h.oldest(); got != 1 {
		t.Errorf("nothing is marked yet, and the oldest revision is %d", got)
	}
	if h.work(); h.oldest() != 2 {
		t.Errorf("all watchers are to read revision 2, and the oldest revision is %d", h.oldest())
	}
	s.put("other") // while the watchers are read
	h.advance(1)   // the round begins
	for i := range 10 {
		response, _, err := ws.poll(t.Context())
		if err != nil || response == nil || len(response.Events) != 2 || response.Revision != 3 {
			t.Fatalf("response %d: %+v, %v", i, response, err)
		}
	}
	if response, _, _ := ws.poll(t.Context()); response != nil {
		t.Errorf("after all events: %+v", response)
	}
	h.work()
	if response, _, _ := ws.poll(t.Context()); response != nil {
		t.Errorf("of another key: %+v", response)
	}
	if got := h.oldest(); got != 4 {
		t.Errorf("all is read, and the oldest revision is %d", got)
	}
	s.put("k")
	if h.work(); h.oldest() != 5 {
		t.Errorf("all watchers are to read revision 5, and the oldest revision is %d", h.oldest())
	}
	ws.Close()
	if n := h.unread.Len(); n != 0 || h.oldest() != 5 || h.watchers.Load() != 0 {
		t.Errorf("the stream is closed, and %d revisions are unread, the oldest %d; %d watchers",
			n, h.oldest(), h.watchers.Load())
	}
}

// FuzzRangeTree turns bytes into groups that are added, removed and become idle. It compares searches with a walk over
// all groups.
func FuzzRangeTree(f *testing.F) {
	for seed := range byte(8) {
		data := make([]byte, 1000)
		for i, x := 0, uint32(seed)+1; i < len(data); i++ {
			x = x*1664525 + 1013904223
			data[i] = byte(x >> 24)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 2000 {
			t.Skip("longer inputs find nothing more and take longer")
		}
		var index watchIndex
		watchers := map[*watcher]bool{} // whether it is idle
		var order []*watcher
		next := func() byte {
			if len(data) == 0 {
				return 0
			}
			b := data[0]
			data = data[1:]
			return b
		}
		key := func() []byte { return slices.Repeat([]byte{next() % 8}, 1+int(next()%3)) }
		for len(data) > 0 {
			switch op := next() % 8; {
			case op < 3 || len(order) == 0:
				w := &watcher{WatchRequest: WatchRequest{KeyRange: KeyRange{Key: key(), End: key()}}}
				if op == 0 {
					w.End = []byte{0}
				} else if bytes.Compare(w.Key, w.End) >= 0 {
					w.Key, w.End = w.End, append(w.Key, 0)
				}
				w.group = index.join(w.KeyRange)
				watchers[w] = false
				order = append(order, w)
			case op < 4:
				i := int(next()) % len(order)
				w := order[i]
				if watchers[w] {
					w.group.pull(w)
				}
				index.leave(w.group)
				delete(watchers, w)
				order = slices.Delete(order, i, i+1)
			case op < 7:
				w := order[int(next())%len(order)]
				if watchers[w] = !watchers[w]; watchers[w] {
					w.group.push(w)
				} else {
					w.group.pull(w)
				}
			}
			if len(data)%16 == 0 {
				index.ranges.mustHold(t, watchers)
			}
			k := key()
			want := map[*watchGroup]bool{}
			for w, idle := range watchers {
				if idle && w.Contains(k) {
					want[w.group] = true
				}
			}
			limit := 1 + int(next()%16)
			found, _ := index.match(k, make([]*watchGroup, 0, limit))
			if len(found) != min(limit, len(want)) {
				t.Fatalf("%q is in %d ranges of %d, limit %d", k, len(found), len(want), limit)
			}
			for _, g := range found {
				if !want[g] {
					t.Fatalf("%q is not in %q, or was found twice", k, g.KeyRange)
				}
				delete(want, g)
			}
		}
	})
}

// mustHold checks the order of the tree, the links between its nodes, and its size.
func (t *rangeTree) mustHold(tb testing.TB, watchers map[*watcher]bool) {
	tb.Helper()
	groups := map[*watchGroup]int{}
	for w := range watchers {
		if !w.Single() {
			groups[w.group]++
		}
	}
	var last *watchGroup
	n := 0
	var walk func(g, parent *watchGroup)
	walk = func(g, parent *watchGroup) {
		if g == nil {
			return
		}
		walk(g.left, g)
		if g.parent != parent || parent != nil && parent.priority < g.priority ||
			last != nil && last.Compare(g.KeyRange) >= 0 || groups[g] != g.members {
			tb.Fatalf("%q with %d members is in the wrong place", g.KeyRange, g.members)
		}
		last = g
		n++
		walk(g.right, g)
	}
	walk(t.root, nil)
	if n != len(groups) {
		tb.Fatalf("the tree has %d ranges, want %d", n, len(groups))
	}
}

// TestPeriodicNotificationsSurviveCancel cancels watchers during a round of notifications. Each other watcher gets one,
// unless it had an event.
func TestPeriodicNotificationsSurviveCancel(t *testing.T) {
	for canceled := range WatchID(8) {
		for after := range 8 {
			s := hubStore(t)
			ws := s.NewWatchStream()
			for range 8 {
				ws.mustCreate(t, WatchRequest{KeyRange: KeyRange{Key: []byte("k")}, ProgressNotify: true})
			}
			ws.watchers[3].recent = true
			ws.due = len(ws.notify)
			notified := map[WatchID]int{3: 1}
			for i := 0; ; i++ {
				if i == after {
					ws.drop(ws.watchers[canceled])
					ws.drop(ws.watchers[canceled])
					notified[canceled] = 1
				}
				r, _ := ws.nextProgress(ws.hub.marked)
				if r == nil && i >= after {
					break
				}
				if r != nil {
					notified[r.WatchID]++
				}
			}
			for id := range WatchID(8) {
				if n := notified[id]; n != 1 && id != canceled {
					t.Errorf("%d canceled after %d: %d notifications of watcher %d", canceled, after, n, id)
				}
			}
			for i, w := range ws.notify {
				if w.notifySlot != i || w.state == watcherClosed {
					t.Errorf("%d canceled after %d: watcher %d is in the wrong place", canceled, after, w.ID)
				}
			}
			if len(ws.notify) != 7 {
				t.Errorf("%d watchers are left", len(ws.notify))
			}
		}
	}
}
