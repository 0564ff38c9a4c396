package logstructured

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/stele-db/stele/logstructured/log"
)

const (
	// maxWatchRevisions, maxWatchBytes and maxWatchScan bound one response: the number of its revisions, the size of
	// its events, and the rows that are read for it, including rows that do not concern the watcher. A response has at
	// least one revision.
	maxWatchRevisions = 1000
	maxWatchBytes     = 2 << 20
	maxWatchScan      = 100_000
)

// Next waits for the next response. It returns ctx's error, or [ErrStopped] once the store or the stream is closed.
func (ws *WatchStream) Next(ctx context.Context) (*WatchResponse, error) {
	for {
		response, again, err := ws.poll(ctx)
		if response != nil || err != nil {
			return response, err
		}
		var timer *time.Timer
		var elapsed <-chan time.Time
		if !again.IsZero() {
			timer = time.NewTimer(time.Until(again))
			elapsed = timer.C
		}
		select {
		case <-ws.wake:
		case <-elapsed:
		case <-ctx.Done():
			err = ctx.Err()
		}
		if timer != nil {
			timer.Stop()
		}
		if err != nil {
			return nil, err
		}
	}
}

// poll returns the next response if there is one. Otherwise again is when to poll again without a signal; zero means
// never.
func (ws *WatchStream) poll(ctx context.Context) (_ *WatchResponse, again time.Time, _ error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, again, err
		}
		now := time.Now()
		ws.hub.mu.Lock()
		if ws.closed || ws.hub.stopped {
			ws.hub.mu.Unlock()
			return nil, again, ErrStopped
		}
		snap := ws.hub.marked
		ws.ends.settle(snap.head.Position)
		ws.tick(now)
		if response := ws.nextAnswer(snap); response != nil {
			ws.hub.mu.Unlock()
			return response, again, nil
		}
		w, from := ws.takeUnsynced()
		if w == nil {
			response, more := ws.nextProgress(snap)
			again = ws.nextPoll()
			ws.hub.mu.Unlock()
			if more {
				continue
			}
			return response, again, nil
		}
		ws.hub.mu.Unlock()

		response, err := ws.read(ctx, w, from, snap)
		if response != nil {
			return response, again, nil
		}
		if err != nil && ctx.Err() == nil {
			// The database failed while values were read. The watcher keeps its position.
			ws.inputs.logger.WithError(err).Debug("watch waits for the database")
			pause(ctx, watchRetry)
		}
	}
}

// takeUnsynced takes the watcher that has waited longest from the queue, and returns the revision to read it from. The
// caller must call finish or cancel for it. hub.mu is held.
func (ws *WatchStream) takeUnsynced() (*watcher, Revision) {
	if ws.round != ws.hub.round {
		ws.unsynced.take(&ws.upcoming)
	}
	for w := ws.unsynced.pop(); w != nil; w = ws.unsynced.pop() {
		if w.state != watcherClosed {
			w.state = watcherReading
			return w, w.pending
		}
	}
	return nil, 0
}

// finish records that everything before revision next was read for w. It reports whether w is still open. hub.mu is
// held.
func (ws *WatchStream) finish(w *watcher, next Revision) bool {
	ws.hub.clearPending(w.pending)
	if w.state == watcherClosed {
		return false
	}
	ws.hub.settle(w, next)
	return true
}

// read makes the watcher's next response from the snapshot's history. It returns no response if nothing in it concerns
// the watcher.
func (ws *WatchStream) read(ctx context.Context, w *watcher, from Revision, snap *snapshot) (*WatchResponse, error) {
	if w.compacted || from < snap.start {
		return ws.cancelCompacted(w, snap), nil
	}
	rows, next := w.match(snap, from)
	rows, next, err := ws.fit(w, rows, next)
	var events []*mvccpb.Event
	if err == nil && len(rows) > 0 {
		events, err = ws.inputs.values.events(ctx, snap, rows, w.PrevKV)
	}
	if err != nil {
		next = from
	}
	switch {
	case errors.Is(err, errValueGone) && from < snap.compact:
		return ws.cancelCompacted(w, snap), nil
	case errors.Is(err, log.ErrCorrupt):
		return ws.cancel(w, WatchResponse{Err: err}), nil // retrying would not help
	case errors.Is(err, errValueGone):
		ws.inputs.wakeFollower() // this replica has yet to apply a compaction
	}
	ws.hub.mu.Lock()
	defer ws.hub.mu.Unlock()
	if live := ws.finish(w, next); !live || err != nil || len(events) == 0 {
		return nil, err // a closed watcher's Canceled response may already have been returned
	}
	w.recent = true
	ws.hub.metrics.events.Add(float64(len(events)))
	return &WatchResponse{WatchID: w.ID, Revision: next - 1, Events: events, Fragment: w.Fragment}, nil
}

// cancelCompacted ends a watcher that needs compacted history.
func (ws *WatchStream) cancelCompacted(w *watcher, snap *snapshot) *WatchResponse {
	return ws.cancel(w, WatchResponse{CompactRevision: snap.compact})
}

// cancel ends a watcher that cannot continue. response holds the reason.
func (ws *WatchStream) cancel(w *watcher, response WatchResponse) *WatchResponse {
	ws.hub.mu.Lock()
	defer ws.hub.mu.Unlock()
	ws.hub.clearPending(w.pending)
	if w.state == watcherClosed {
		return nil
	}
	ws.drop(w) // its ID stays taken until the client cancels it, as in etcd
	response.WatchID, response.Canceled = w.ID, true
	return &response
}

// match collects the rows that concern the watcher, from revision on, and returns the revision to continue from.
func (w *watcher) match(snap *snapshot, from Revision) (rows []*row, next Revision) {
	var last Revision
	revisions, size := 0, 0
	for i, r := range snap.changes(w.KeyRange, from) {
		if r.revision != last {
			if revisions >= maxWatchRevisions || size >= maxWatchBytes || i >= maxWatchScan {
				return rows, r.revision
			}
			last = r.revision
		}
		if !w.Contains(r.key) || w.drops(r) {
			continue
		}
		if len(rows) == 0 || rows[len(rows)-1].revision != r.revision {
			revisions++
		}
		rows = append(rows, r)
		size += len(r.key) + int(r.size)
		if w.PrevKV {
			size += len(r.key) + int(r.size) // assume that the previous value is as large as the new one
		}
	}
	return rows, snap.revision + 1
}

// events makes the events of rows, reading the values that are not in memory.
func (v *values) events(ctx context.Context, snap *snapshot, rows []*row, prevKV bool) ([]*mvccpb.Event, error) {
	var a answer
	events := make([]*mvccpb.Event, len(rows))
	for i, r := range rows {
		ev := &mvccpb.Event{Type: mvccpb.Event_PUT}
		if r.tombstone() {
			ev.Type = mvccpb.Event_DELETE
			ev.Kv = &mvccpb.KeyValue{Key: r.key, ModRevision: int64(r.revision)}
		} else {
			ev.Kv = a.keyValue(r)
		}
		if prevKV && r.create != r.revision {
			if prev := snap.previous(r); prev != nil {
				ev.PrevKv = a.keyValue(prev)
			}
		}
		events[i] = ev
	}
	return events, a.complete(ctx, v, v.lanes.watches)
}
