package logstructured

import "time"

// RequestProgress makes Next return a response with InvalidWatchID, no events and a revision that is current as of a moment
// after the call, once all events up to it of all watchers of the stream have been returned. Without watchers there
// is no answer.
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

// progressRequests are the questions of the requests for progress that were not answered, from the oldest to the newest; 0 is none.
type progressRequests struct{ oldest, newest int }

// requestProgress asks the database up to where the response must wait. hub.mu is held.
func (ws *WatchStream) requestProgress() {
	if len(ws.watchers) == 0 {
		return
	}
	question := ws.ask()
	if ws.requested.oldest == 0 {
		ws.requested.oldest = question
	}
	ws.requested.newest = question
}

// answered takes note of a response by a state that answers the questions up to reached.
func (p *progressRequests) answered(reached int) {
	if reached >= p.newest {
		*p = progressRequests{}
		return
	}
	p.oldest = p.newest
}

// nextProgress returns a progress response if one is due. All watchers of the stream have been read up to snap, so it cannot
// overtake an event. hub.mu is held.
func (ws *WatchStream) nextProgress(snap *snapshot) *WatchResponse {
	for len(ws.progress) > 0 {
		w := ws.progress[0]
		ws.progress = ws.progress[1:]
		if !w.closed && snap.revision >= w.StartRevision {
			return &WatchResponse{WatchID: w.ID, Revision: snap.revision}
		}
	}
	if ws.requested.oldest == 0 || ws.requested.oldest > ws.ends.reached {
		return nil
	}
	for _, w := range ws.watchers {
		if !w.closed && snap.revision < w.StartRevision {
			return nil // as etcd: a watcher of the future is not synced
		}
	}
	ws.requested.answered(ws.ends.reached)
	if len(ws.watchers) == 0 {
		return nil
	}
	return &WatchResponse{WatchID: InvalidWatchID, Revision: snap.revision}
}

// tick starts the periodic notifications when they are due, and repeats a question to the database that failed.
func (ws *WatchStream) tick() {
	now := time.Now()
	ws.hub.mu.Lock()
	if at := ws.ends.retryAt; !at.IsZero() && !now.Before(at) {
		ws.askAgain()
	}
	if !now.Before(ws.nextTick) {
		ws.nextTick = now.Add(ws.store.opts.ProgressInterval)
		ws.progress = nil
		for _, w := range ws.watchers {
			if w.ProgressNotify && !w.recent {
				ws.progress = append(ws.progress, w)
			}
			w.recent = false
		}
	}
	ws.hub.mu.Unlock()
}

// sleep is how long Next may wait for a signal.
func (ws *WatchStream) sleep() time.Duration {
	d := time.Until(ws.nextTick)
	ws.hub.mu.Lock()
	defer ws.hub.mu.Unlock()
	if at := ws.ends.retryAt; !at.IsZero() {
		d = min(d, time.Until(at))
	}
	return max(d, time.Millisecond)
}
