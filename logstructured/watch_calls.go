package logstructured

import (
	"bytes"
	"time"
)

// reserve waits until there is room for a call. It returns true with hub.mu held, or false without it if the stream has
// ended.
func (ws *WatchStream) reserve() bool {
	for {
		ws.hub.mu.Lock()
		if ws.closed || ws.hub.stopped {
			ws.hub.mu.Unlock()
			return false
		}
		if len(ws.calls) < maxPendingCalls {
			return true
		}
		ws.hub.mu.Unlock()
		select {
		case <-ws.room:
		case <-ws.inputs.stopped:
		}
	}
}

// Create adds a watcher. Next returns its Created response, or the failed one, before its events, and the responses of
// several creations in order. The response is linearized: it shows a state that is not older than the call, so it waits
// while the database is unreachable. guard is called on that state, and not for events. Create itself waits while too
// many calls are unanswered.
func (ws *WatchStream) Create(guard Guard, r WatchRequest) {
	if len(r.Key) == 0 {
		r.Key = []byte{0}
	}
	if !ws.reserve() {
		return
	}
	defer ws.hub.mu.Unlock()
	ws.calls = append(ws.calls, streamCall{create: &r, guard: guard, query: ws.queryHead()})
}

// Cancel ends a watcher; Next returns the Canceled response unless id is unknown.
func (ws *WatchStream) Cancel(id WatchID) {
	if !ws.reserve() {
		return
	}
	defer ws.hub.mu.Unlock()
	ws.calls = append(ws.calls, streamCall{cancel: id})
	ws.signal()
}

// nextAnswer carries out calls until one of them has an answer. Answers precede all other responses, so that no
// response of a watcher overtakes its Created response. hub.mu is held.
func (ws *WatchStream) nextAnswer(snap *snapshot) *WatchResponse {
	for len(ws.calls) > 0 && ws.ends.reached >= ws.calls[0].query {
		c := ws.calls[0]
		ws.calls[0] = streamCall{}
		if ws.calls = ws.calls[1:]; len(ws.calls) == 0 {
			ws.calls = nil
		}
		select {
		case ws.room <- struct{}{}:
		default:
		}
		if response := ws.carryOut(c, snap); response != nil {
			return response
		}
	}
	return nil
}

// carryOut carries out a call and returns its answer, nil if it has none. hub.mu is held.
func (ws *WatchStream) carryOut(c streamCall, snap *snapshot) *WatchResponse {
	switch {
	case c.create != nil:
		return ws.create(*c.create, c.guard, snap)
	case c.progress:
		ws.requestProgress()
		return nil
	}
	w := ws.watchers[c.cancel]
	if w == nil {
		return nil
	}
	ws.drop(w)
	delete(ws.watchers, c.cancel)
	return &WatchResponse{WatchID: c.cancel, Revision: snap.revision, Canceled: true}
}

// create adds a watcher and returns the answer, or returns the answer that refuses it. hub.mu is held.
func (ws *WatchStream) create(r WatchRequest, guard Guard, snap *snapshot) *WatchResponse {
	response := &WatchResponse{WatchID: InvalidWatchID, Revision: snap.revision, Created: true, Canceled: true}
	refusal := snap.pass(guard)
	switch {
	case r.StartRevision < 0:
		response.Err = ErrCompacted
	case refusal != nil:
		response.Err = refusal
	case !r.Single() && !r.FromKey() && bytes.Compare(r.Key, r.End) >= 0:
		response.Err = ErrEmptyWatchRange
	case r.ID != 0 && ws.watchers[r.ID] != nil:
		response.Err = ErrDuplicateWatchID
	default:
		response.WatchID, response.Canceled = ws.add(r, snap), false
	}
	return response
}

// add registers a watcher and returns its ID. hub.mu is held.
func (ws *WatchStream) add(r WatchRequest, snap *snapshot) WatchID {
	if r.ID == 0 {
		for ws.watchers[ws.nextID] != nil {
			ws.nextID++
		}
		r.ID = ws.nextID
		ws.nextID++
	}
	w := &watcher{WatchRequest: r, stream: ws, compacted: r.StartRevision != 0 && r.StartRevision < snap.compact}
	ws.watchers[r.ID] = w
	if only := ws.hub.add(w); only {
		ws.inputs.wakeFollower() // polling becomes more frequent
	}
	if w.ProgressNotify {
		if len(ws.notify) == 0 {
			ws.nextTick = time.Now().Add(ws.inputs.progressInterval)
		}
		w.notifySlot = len(ws.notify)
		ws.notify = append(ws.notify, w)
	}
	return w.ID
}

// drop ends a watcher. hub.mu is held.
func (ws *WatchStream) drop(w *watcher) {
	if w.ProgressNotify && w.state != watcherClosed {
		ws.forgetDue(w.notifySlot)
	}
	ws.hub.drop(w)
}

// closeSlice is how many watchers Close ends before it releases the lock for a moment.
const closeSlice = 1000

// Close ends the stream and all its watchers.
func (ws *WatchStream) Close() {
	h := ws.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if ws.closed {
		return
	}
	ws.closed = true
	delete(h.streams, ws)
	watchers := ws.watchers
	ws.watchers, ws.notify, ws.due = nil, nil, 0
	ws.signal()
	close(ws.room)
	n := 0
	for _, w := range watchers {
		if n++; n%closeSlice == 0 {
			h.mu.Unlock()
			h.mu.Lock()
		}
		h.drop(w)
	}
}
