package logstructured

import "time"

// RequestProgress makes Next return a response with InvalidWatchID, no events and a revision that is current as of a moment
// after the call, once all events up to it of all watchers of the stream have been returned. Without watchers there
// is no answer.
func (ws *WatchStream) RequestProgress() {
	ws.hub.mu.Lock()
	if len(ws.watchers) == 0 || ws.closed {
		ws.hub.mu.Unlock()
		return
	}
	ws.requested++
	ws.hub.mu.Unlock()
	ws.askProgress()
}

// progressAnswer is what the database told about the end of the log for a request: its response must wait until position has
// been applied.
type progressAnswer struct {
	request  int
	position Position
}

// askProgress asks the database up to where the response to the newest request must wait.
func (ws *WatchStream) askProgress() {
	ws.hub.mu.Lock()
	request := ws.requested
	ws.retryAt = time.Time{}
	ws.hub.mu.Unlock()
	ws.store.reads.join(func(r *round) {
		ws.hub.mu.Lock()
		defer ws.hub.mu.Unlock()
		where, _ := ws.store.applied.standing(r.end.Head)
		if r.err != nil || where == foreign {
			ws.retryAt = time.Now().Add(watchRetry)
			ws.signal()
			return
		}
		ws.answer = progressAnswer{request, r.end.Position}
		if ws.hub.current.Load().head.Position < r.end.Position {
			ws.store.catchUp() // publish wakes the stream
			return
		}
		ws.signal()
	})
}

// wakeAt tells whether the stream waits for position to be applied. hub.mu is held.
func (ws *WatchStream) wakeAt(position Position) bool {
	return ws.answer.request > ws.answered && ws.answer.position <= position
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
	if !ws.wakeAt(snap.head.Position) {
		return nil
	}
	for _, w := range ws.watchers {
		if !w.closed && snap.revision < w.StartRevision {
			return nil // as etcd: a watcher of the future is not synced
		}
	}
	ws.answered = ws.answer.request
	if len(ws.watchers) == 0 {
		return nil
	}
	return &WatchResponse{WatchID: InvalidWatchID, Revision: snap.revision}
}

// tick starts the periodic notifications when they are due, and repeats a question to the database that failed.
func (ws *WatchStream) tick() {
	now := time.Now()
	ws.hub.mu.Lock()
	ask := !ws.retryAt.IsZero() && !now.Before(ws.retryAt)
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
	if ask {
		ws.askProgress()
	}
}

// sleep is how long Next may wait for a signal.
func (ws *WatchStream) sleep() time.Duration {
	d := time.Until(ws.nextTick)
	ws.hub.mu.Lock()
	defer ws.hub.mu.Unlock()
	if !ws.retryAt.IsZero() {
		d = min(d, time.Until(ws.retryAt))
	}
	return max(d, time.Millisecond)
}
