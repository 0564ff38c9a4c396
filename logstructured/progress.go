package logstructured

import "time"

// RequestProgress requests a response with InvalidWatchID and no events. Its revision was current at a moment after the
// call, and Next returns all events of all watchers of the stream up to that revision before it. A stream without
// watchers has no such response.
func (ws *WatchStream) RequestProgress() {
	ws.hub.mu.Lock()
	defer ws.hub.mu.Unlock()
	n := len(ws.calls)
	switch {
	case ws.closed:
	case n == 0:
		ws.requestProgress()
	case !ws.calls[n-1].progress:
		ws.calls = append(ws.calls, streamCall{progress: true})
	}
}

// requestProgress queries the head that this replica must have applied before the response. hub.mu is held.
func (ws *WatchStream) requestProgress() {
	if len(ws.watchers) == 0 {
		return
	}
	query := ws.queryHead()
	if ws.requested.oldest == 0 {
		ws.requested.oldest = query
	}
	ws.requested.newest = query
}

// maxProgressSteps bounds the watchers that are visited under the lock at once.
const maxProgressSteps = 1000

// nextProgress returns a progress response if one is due. more is set if there may be one after the lock was released.
// All watchers of the stream have been read up to snap, so the response cannot overtake an event. hub.mu is held.
func (ws *WatchStream) nextProgress(snap *snapshot) (_ *WatchResponse, more bool) {
	for range maxProgressSteps {
		if ws.due == 0 {
			return ws.requestedProgress(snap), false
		}
		if w := ws.nextDue(); w != nil {
			return &WatchResponse{WatchID: w.ID, Revision: snap.revision}, false
		}
	}
	return nil, true
}

// nextDue visits one watcher for the periodic notifications, and returns it if it needs one. hub.mu is held.
func (ws *WatchStream) nextDue() *watcher {
	ws.due--
	w := ws.notify[ws.due]
	recent := w.recent
	w.recent = false
	if recent || w.state == watcherFuture {
		return nil
	}
	return w
}

// forgetDue removes the watcher at index i of notify. hub.mu is held.
func (ws *WatchStream) forgetDue(i int) {
	if i < ws.due {
		ws.due--
		ws.moveNotify(ws.due, i)
		i = ws.due
	}
	last := len(ws.notify) - 1
	if i != last {
		ws.moveNotify(last, i)
	}
	ws.notify[last] = nil
	ws.notify = ws.notify[:last]
}

func (ws *WatchStream) moveNotify(from, to int) {
	ws.notify[to] = ws.notify[from]
	ws.notify[to].notifySlot = to
}

// requestedProgress returns the response to RequestProgress if it is due. hub.mu is held.
func (ws *WatchStream) requestedProgress(snap *snapshot) *WatchResponse {
	if ws.requested.oldest == 0 || ws.requested.oldest > ws.ends.reached || ws.future > 0 {
		return nil // as in etcd, where watchers of a future revision are not synced
	}
	ws.requested.answered(ws.ends.reached)
	if len(ws.watchers) == 0 {
		return nil
	}
	return &WatchResponse{WatchID: InvalidWatchID, Revision: snap.revision}
}

// tick starts the periodic notifications when they are due, and repeats a query of the head that failed. hub.mu is
// held.
func (ws *WatchStream) tick(now time.Time) {
	if at := ws.ends.retryAt; !at.IsZero() && !now.Before(at) {
		ws.repeatQuery()
	}
	if len(ws.notify) == 0 || now.Before(ws.nextTick) {
		return
	}
	ws.nextTick = now.Add(ws.inputs.progressInterval)
	if ws.due == 0 {
		ws.due = len(ws.notify)
	}
}

// nextPoll returns when Next must poll again without a signal, zero if never. hub.mu is held.
func (ws *WatchStream) nextPoll() time.Time {
	at := ws.ends.retryAt
	if len(ws.notify) > 0 && (at.IsZero() || ws.nextTick.Before(at)) {
		at = ws.nextTick
	}
	return at
}
