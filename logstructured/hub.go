package logstructured

import (
	"sync"
	"sync/atomic"
)

// hub knows all watchers. When a snapshot is published it marks the watchers that have something to read from it;
// reading it is up to their streams. So publishing costs the same however slow a client is, and nothing is queued.
type hub struct {
	metrics *metrics
	// current is the published snapshot. It changes under mu, so that under mu the marks and it agree.
	current atomic.Pointer[snapshot]
	// watchers is the number of watchers.
	watchers atomic.Int64

	mu sync.Mutex
	// keys holds the watchers of single keys, ranges those of ranges, by range.
	keys    map[string]watcherSet
	ranges  map[rangeID]*rangeGroup
	streams map[*WatchStream]struct{}
	stopped bool
}

type watcherSet map[*watcher]struct{}

type rangeID struct{ key, end string }

// rangeGroup holds the watchers of one range: there are often many of the same.
type rangeGroup struct {
	KeyRange
	watchers watcherSet
}

func newHub(m *metrics) *hub {
	return &hub{
		metrics: m,
		keys:    make(map[string]watcherSet), ranges: make(map[rangeID]*rangeGroup), streams: make(map[*WatchStream]struct{}),
	}
}

// publish makes next current and marks the watchers of what is new in it.
func (h *hub) publish(before, next *snapshot) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.current.Store(next)
	if next.start > before.revision+1 {
		// What comes after the last published revision is not in the history any more: every stream must find out.
		h.markAll(before.revision + 1)
	} else if next.revision > before.revision {
		for _, r := range next.history[next.since(before.revision+1):] {
			h.mark(r)
		}
	}
	for ws := range h.streams {
		if ws.ends.settles(next.head.Position) {
			ws.signal()
		}
	}
}

// oldest returns the lowest revision that a watcher has still to read, and the current revision if all are synced.
func (h *hub) oldest() Revision {
	h.mu.Lock()
	defer h.mu.Unlock()
	oldest := h.current.Load().revision
	for ws := range h.streams {
		if ws.reading != 0 {
			oldest = min(oldest, ws.reading)
		}
		for _, w := range ws.unsynced {
			oldest = min(oldest, w.pending)
		}
	}
	return oldest
}

// markAll makes all watchers read from revision on. h.mu is held.
func (h *hub) markAll(revision Revision) {
	for ws := range h.streams {
		for _, w := range ws.watchers {
			w.markFrom(max(revision, w.StartRevision))
		}
	}
}

// replace makes next current, in which only rows were dropped that nobody may read.
func (h *hub) replace(next *snapshot) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.current.Store(next)
}

// mark tells the watchers of r's key that there is something for them. h.mu is held.
func (h *hub) mark(r *row) {
	for w := range h.keys[string(r.key)] {
		w.mark(r)
	}
	for _, g := range h.ranges {
		if g.contains(r.key) {
			for w := range g.watchers {
				w.mark(r)
			}
		}
	}
}

// add registers a watcher. h.mu is held.
func (h *hub) add(w *watcher) {
	h.metrics.watchers.Set(float64(h.watchers.Add(1)))
	if w.single() {
		set := h.keys[string(w.Key)]
		if set == nil {
			set = make(watcherSet)
			h.keys[string(w.Key)] = set
		}
		set[w] = struct{}{}
		return
	}
	id := rangeID{string(w.Key), string(w.End)}
	g := h.ranges[id]
	if g == nil {
		g = &rangeGroup{KeyRange: w.KeyRange, watchers: make(watcherSet)}
		h.ranges[id] = g
	}
	g.watchers[w] = struct{}{}
}

// remove is the reverse of add. h.mu is held.
func (h *hub) remove(w *watcher) {
	h.metrics.watchers.Set(float64(h.watchers.Add(-1)))
	if w.single() {
		set := h.keys[string(w.Key)]
		if delete(set, w); len(set) == 0 {
			delete(h.keys, string(w.Key))
		}
		return
	}
	id := rangeID{string(w.Key), string(w.End)}
	g := h.ranges[id]
	if delete(g.watchers, w); len(g.watchers) == 0 {
		delete(h.ranges, id)
	}
}

// stop ends all streams.
func (h *hub) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopped = true
	for ws := range h.streams {
		ws.signal()
	}
}
