package logstructured

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/tidwall/btree"

	"github.com/stele-db/stele/logstructured/log"
)

const (
	// markSlice bounds the work of a slice, in watchers marked and groups visited: a millisecond or two.
	markSlice = 8192
	// matchSlice bounds the groups that are searched for at once.
	matchSlice = 256
)

// hub holds all watchers. After a snapshot was published, it marks the watchers that have events to read from it; their
// streams read the events when their clients are ready. So the cost of publishing does not depend on slow clients, and
// no events are queued.
//
// Marking is done in rounds, from the snapshot marked to the snapshot target, and each round in slices. The lock is
// released between slices, and the writer itself does only the first slice. Streams read from marked and never from a
// later snapshot. Under mu the following holds:
//
//   - A watcher with an unread event up to the revision of marked is in its stream's queue unsynced (or in upcoming of
//     a round that is over), or is being read, or waits in future. A stream without such a watcher may report progress
//     up to marked. A stream does not report progress while one of its watchers is in future.
//   - A watcher with an unread event between marked and target is in one of these places too, in upcoming, or idle with
//     the event in rows.
//   - An idle watcher has read everything up to marked. Rows are matched with idle watchers only, so a watcher that is
//     marked costs nothing more, however many rows follow.
//
// An event is therefore neither missed nor read twice, and no progress notification overtakes an event.
type hub struct {
	metrics *metrics
	// current is the published snapshot, which requests read. It changes under mu.
	current atomic.Pointer[snapshot]
	// watchers is the number of watchers.
	watchers atomic.Int64
	// more wakes run.
	more chan struct{}
	// budget is the work of one slice.
	budget int

	mu sync.Mutex
	// marked is the snapshot that streams read from.
	marked *snapshot
	// target is the snapshot of the current round, nil between rounds, and rows are its rows that have not been
	// matched.
	target *snapshot
	rows   []*row
	// round counts the rounds, and touched holds the streams with watchers that were marked in the current one.
	round   uint64
	touched []*WatchStream
	// behind reports whether run has work to do.
	behind bool

	// index holds the groups of watchers by filter.
	index [filters]watchIndex
	found []*watchGroup
	// future holds the watchers whose start revision marked has yet to reach.
	future waitlist[Revision, *watcher]
	// waiting holds the streams that report progress once marked includes a position.
	waiting waitlist[log.Position, *WatchStream]
	// unread counts the watchers that are marked or being read, by their first unread revision.
	unread  btree.Map[Revision, int]
	streams map[*WatchStream]struct{}
	stopped bool
}

func newHub(m *metrics) *hub {
	return &hub{
		metrics: m, more: make(chan struct{}, 1), budget: markSlice, round: 1,
		found: make([]*watchGroup, 0, matchSlice), streams: make(map[*WatchStream]struct{}),
	}
}

// publish makes next current and begins to mark the watchers of its new rows.
func (h *hub) publish(next *snapshot) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.current.Store(next)
	if h.marked == nil {
		h.marked = next
	}
	if h.behind {
		return
	}
	if h.behind = h.advance(h.budget); h.behind {
		select {
		case h.more <- struct{}{}:
		default:
		}
	}
}

// run does the marking that publish has left over, until ctx ends.
func (h *hub) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.more:
		}
		for more := true; more && ctx.Err() == nil; {
			more = h.slice()
		}
	}
}

func (h *hub) slice() (more bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.behind = h.advance(h.budget)
	return h.behind
}

// advance moves marked towards the current snapshot, as far as budget allows, and reports whether there may be more to
// do. mu is held.
func (h *hub) advance(budget int) (more bool) {
	for ; budget > 0; budget-- {
		switch {
		case len(h.rows) > 0:
			if h.markRow(h.rows[0], &budget) {
				h.rows = h.rows[1:]
			}
		case h.target != nil:
			h.marked, h.target, h.rows = h.target, nil, nil
			h.round++
		case !h.wake():
			if h.marked == h.current.Load() {
				return false
			}
			h.startRound(h.current.Load())
		}
	}
	return true
}

// startRound starts the round to target. mu is held.
func (h *hub) startRound(target *snapshot) {
	first := h.marked.revision + 1
	h.rows = target.history[target.since(first):]
	switch {
	case target.start > first:
		// Some of the rows after marked are no longer in the history, which every watcher must find out.
		h.target, h.rows = target, nil
		h.markAll()
	case len(h.rows) > 0:
		h.target = target
	default:
		h.marked = target
	}
}

// wake does one step of the work after a round, and reports whether there was one. mu is held.
func (h *hub) wake() bool {
	if last := len(h.touched) - 1; last >= 0 {
		h.touched[last].signal()
		h.touched[last] = nil
		h.touched = h.touched[:last]
		return true
	}
	if w, ok := h.future.pop(h.marked.revision); ok {
		w.stream.future--
		h.settle(w, w.StartRevision)
		w.stream.signal()
		return true
	}
	if ws, ok := h.waiting.pop(h.marked.head.Position); ok {
		ws.signal()
		return true
	}
	return false
}

// markRow marks the idle watchers of r, and reports whether none is left. mu is held.
func (h *hub) markRow(r *row, budget *int) (done bool) {
	for _, f := range filtersOf(r) {
		for more := true; more; {
			found, visited := h.index[f].match(r.key, h.found)
			*budget -= visited
			for _, g := range found {
				for len(g.idle) > 0 {
					h.mark(g.idle[len(g.idle)-1], r.revision)
					if *budget--; *budget <= 0 {
						return false
					}
				}
			}
			more = len(found) == cap(found)
		}
	}
	return true
}

// markAll marks all idle watchers. It is for the rare case that the database has gone back in time, and does not work
// in slices. mu is held.
func (h *hub) markAll() {
	for ws := range h.streams {
		for _, w := range ws.watchers {
			if w.state == watcherIdle {
				h.mark(w, h.marked.revision+1)
			}
		}
	}
}

// mark moves an idle watcher that has an event to read at revision, in the current round. mu is held.
func (h *hub) mark(w *watcher, revision Revision) {
	w.group.pull(w)
	w.stream.pushUpcoming(w, revision)
}

// settle moves w, which is in no place and has read everything before next, to its place. mu is held.
func (h *hub) settle(w *watcher, next Revision) {
	switch {
	case next <= h.marked.revision:
		w.stream.unsynced.push(w)
		h.setPending(w, next)
	case h.target != nil:
		// Rows of the round may have been matched while w was not idle.
		w.stream.pushUpcoming(w, next)
	default:
		w.state = watcherIdle
		w.group.push(w)
	}
}

// setPending records that w, which is in a queue, has to read from revision on. mu is held.
func (h *hub) setPending(w *watcher, revision Revision) {
	w.state, w.pending = watcherMarked, revision
	n, _ := h.unread.Get(revision)
	h.unread.Set(revision, n+1)
}

// clearPending is the reverse of setPending. mu is held.
func (h *hub) clearPending(revision Revision) {
	if n, _ := h.unread.Get(revision); n > 1 {
		h.unread.Set(revision, n-1)
	} else {
		h.unread.Delete(revision)
	}
}

// oldest returns the lowest revision that a watcher may still have to read, or the current revision if all are synced.
func (h *hub) oldest() Revision {
	h.mu.Lock()
	defer h.mu.Unlock()
	oldest := h.marked.revision
	if revision, _, ok := h.unread.Min(); ok {
		oldest = min(oldest, revision)
	}
	if revision, ok := h.future.lowest(); ok {
		oldest = min(oldest, revision)
	}
	return oldest
}

// add registers a watcher as of snapshot marked, and reports whether it is the only one. mu is held.
func (h *hub) add(w *watcher) (only bool) {
	n := h.watchers.Add(1)
	h.metrics.watchers.Set(float64(n))
	w.group = h.index[w.filter()].join(w.KeyRange)
	switch {
	case w.StartRevision == 0:
		h.settle(w, h.marked.revision+1)
	case w.StartRevision <= h.marked.revision:
		h.settle(w, w.StartRevision)
	default:
		w.state = watcherFuture
		w.stream.future++
		h.future.add(w.StartRevision, w)
	}
	return n == 1
}

// drop ends a watcher. mu is held.
func (h *hub) drop(w *watcher) {
	switch w.state {
	case watcherClosed:
		return
	case watcherIdle:
		w.group.pull(w)
	case watcherFuture:
		h.future.remove(w.StartRevision, w)
		w.stream.future--
	case watcherMarked:
		h.clearPending(w.pending)
	case watcherReading: // its stream finishes first
	}
	w.state = watcherClosed
	h.index[w.filter()].leave(w.group)
	h.metrics.watchers.Set(float64(h.watchers.Add(-1)))
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
