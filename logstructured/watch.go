package logstructured

import (
	"bytes"
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/stele-db/stele/logstructured/log"
)

// WatchID identifies a watcher on its stream.
type WatchID int64

// InvalidWatchID is the ID of responses that belong to no watcher: failed creations and answers to RequestProgress.
const InvalidWatchID WatchID = -1

const (
	// maxWatchRevisions, maxWatchBytes and maxWatchScan bound one response: of many small events, of large ones, and
	// of history that does not concern the watcher. A response has at least one revision.
	maxWatchRevisions = 1000
	maxWatchBytes     = 2 << 20
	maxWatchScan      = 100_000
	// maxPendingCalls bounds the calls of Create and Cancel that have not been answered; then these calls wait.
	maxPendingCalls = 1000
	// watchRetry is how long a stream waits before it asks a failing database again.
	watchRetry = 100 * time.Millisecond
)

// WatchRequest creates a watcher.
type WatchRequest struct {
	// KeyRange as in a range; but an empty Key is "\x00".
	KeyRange
	// ID is chosen by the client, or 0 for the next free one.
	ID WatchID
	// StartRevision is the first revision of interest; 0 is the one after the current.
	StartRevision Revision
	PrevKV        bool
	// ProgressNotify asks for periodic notifications while there are no events.
	ProgressNotify bool
	// NoPut and NoDelete drop the events of that type.
	NoPut, NoDelete bool
	// Guard is nil or may refuse the creation. It is not asked again for events.
	Guard Guard
}

// WatchResponse is one message of a watch stream, in the order in which it must be sent.
type WatchResponse struct {
	WatchID WatchID
	// Revision is the header's.
	Revision Revision
	Created  bool
	Canceled bool
	// Err tells why a creation failed: ErrDuplicateWatchID, ErrEmptyWatchRange, ErrCompacted (negative start) or what the guard said.
	Err error
	// CompactRevision is set when the watcher was canceled because it needs a revision below it.
	CompactRevision Revision
	// Events never split a revision: all events of the last revision are there. They are shared: never modify them.
	Events []*mvccpb.Event
}

// WatchStream carries any number of watchers. Create, Cancel, RequestProgress and Close may be called concurrently
// with Next; Next by one goroutine at a time. No response is queued: Next carries out each call, and makes each response, when it
// is called, so a slow caller lags and costs no memory.
type WatchStream struct {
	store  *Store
	hub    *hub
	budget Budget
	// wake tells Next to look again, room tells Create and Cancel.
	wake chan struct{}
	room chan struct{}

	// Guarded by hub.mu:
	watchers map[WatchID]*watcher
	nextID   WatchID
	// calls holds what Next has yet to carry out.
	calls []streamCall
	// unsynced holds the watchers with something to read, upcoming those that were marked in round: they can be read
	// once it is over.
	unsynced, upcoming watcherQueue
	round              uint64
	// future is the number of watchers whose start revision has yet to be reached.
	future int
	// notify holds the watchers that asked for periodic notifications. When these are due, the watchers before index due
	// are looked at, from the last one to the first. The next time is nextTick.
	notify   []*watcher
	due      int
	nextTick time.Time
	// ends are the stream's questions for the end of the log, and requested those of RequestProgress that were not answered.
	ends      streamEnds
	requested progressRequests
	closed    bool
}

// NewWatchStream returns a stream without watchers. The caller must Close it.
func (s *Store) NewWatchStream() *WatchStream {
	ws := &WatchStream{
		store: s, hub: s.hub,
		wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
		watchers: make(map[WatchID]*watcher),
	}
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.hub.streams[ws] = struct{}{}
	return ws
}

func (ws *WatchStream) signal() {
	select {
	case ws.wake <- struct{}{}:
	default:
	}
}

// streamCall is a call that has to wait its turn. Calls are carried out in order: so are the responses of creations, a watcher can be
// canceled before it was created, and the answer to a request for progress comes after the creations before it.
type streamCall struct {
	// create is the watcher to add, or else cancel the one to end, or else progress is set.
	create   *WatchRequest
	cancel   WatchID
	progress bool
	// question is the one whose answer a creation waits for.
	question int
}

// reserve waits until there is room for a call and returns with hub.mu held, or false without.
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
		case <-ws.store.stopped:
		}
	}
}

// Create adds a watcher. Its Created response, or the failed one, comes out of Next before its events, and the responses of several
// creations in their order. The response is linearized: it shows a state that is not older than the call, for which it waits as long as
// the database does not answer. Create itself waits while too many calls have not been answered.
func (ws *WatchStream) Create(r WatchRequest) {
	if len(r.Key) == 0 {
		r.Key = []byte{0}
	}
	if !ws.reserve() {
		return
	}
	defer ws.hub.mu.Unlock()
	ws.calls = append(ws.calls, streamCall{create: &r, question: ws.ask()})
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

// nextAnswer carries out calls until one has an answer. These come before all else: nothing of a watcher overtakes its Created response.
// hub.mu is held.
func (ws *WatchStream) nextAnswer(snap *snapshot) *WatchResponse {
	for len(ws.calls) > 0 && ws.ends.reached >= ws.calls[0].question {
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

// carryOut returns the answer to a call, nil if it has none. hub.mu is held.
func (ws *WatchStream) carryOut(c streamCall, snap *snapshot) *WatchResponse {
	switch {
	case c.create != nil:
		return ws.create(*c.create, snap)
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

// create makes a watcher, or the answer that refuses it. hub.mu is held.
func (ws *WatchStream) create(r WatchRequest, snap *snapshot) *WatchResponse {
	response := &WatchResponse{WatchID: InvalidWatchID, Revision: snap.revision, Created: true, Canceled: true}
	refusal := snap.pass(r.Guard)
	r.Guard = nil
	switch {
	case r.StartRevision < 0:
		response.Err = ErrCompacted
	case refusal != nil:
		response.Err = refusal
	case !r.single() && !r.fromKey() && bytes.Compare(r.Key, r.End) >= 0:
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
		ws.store.catchUp() // polling becomes more frequent
	}
	if w.ProgressNotify {
		if len(ws.notify) == 0 {
			ws.nextTick = time.Now().Add(ws.store.opts.ProgressInterval)
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

// closeSlice bounds the watchers that Close ends under the lock at once.
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

// poll returns the next response if there is one now, and otherwise when to look again without a signal (zero: never).
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
			again = ws.nextLook()
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
			// The database failed while values were read; the watcher stays where it is.
			ws.store.logger.WithError(err).Debug("watch waits for the database")
			pause(ctx, watchRetry)
		}
	}
}

// pushUpcoming queues a watcher that has something to read from revision on, once the hub's round is over. hub.mu is held.
func (ws *WatchStream) pushUpcoming(w *watcher, revision Revision) {
	if ws.round != ws.hub.round {
		ws.unsynced.take(&ws.upcoming)
		ws.round = ws.hub.round
		ws.hub.touched = append(ws.hub.touched, ws)
	}
	ws.upcoming.push(w)
	ws.hub.setPending(w, revision)
}

// takeUnsynced takes the watcher that has waited longest, and the revision to read it from. finish ends what it begins.
// hub.mu is held.
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

// finish notes that everything before revision next was read for w. It reports whether w is still there. hub.mu is held.
func (ws *WatchStream) finish(w *watcher, next Revision) bool {
	ws.hub.clearPending(w.pending)
	if w.state == watcherClosed {
		return false
	}
	ws.hub.settle(w, next)
	return true
}

// read makes the watcher's next response from the snapshot's history, or none if nothing in it concerns the watcher.
func (ws *WatchStream) read(ctx context.Context, w *watcher, from Revision, snap *snapshot) (*WatchResponse, error) {
	if w.compacted || from < snap.start {
		return ws.cancelCompacted(w, snap), nil
	}
	rows, next := w.match(snap, from)
	rows, next, err := ws.fit(w, rows, next)
	var events []*mvccpb.Event
	if err == nil && len(rows) > 0 {
		events, err = ws.store.events(ctx, snap, rows, w.PrevKV)
	}
	if err != nil {
		next = from
	}
	switch {
	case errors.Is(err, errValueGone) && from < snap.compact:
		return ws.cancelCompacted(w, snap), nil
	case errors.Is(err, log.ErrCorrupt):
		return ws.cancel(w, WatchResponse{Err: err}), nil // trying again would not help
	case errors.Is(err, errValueGone):
		ws.store.catchUp() // there is a compaction that was not applied yet
	}
	ws.hub.mu.Lock()
	defer ws.hub.mu.Unlock()
	if live := ws.finish(w, next); !live || err != nil || len(events) == 0 {
		return nil, err // the Canceled response of one that is not live may be on its way already
	}
	w.recent = true
	ws.hub.metrics.events.Add(float64(len(events)))
	return &WatchResponse{WatchID: w.ID, Revision: next - 1, Events: events}, nil
}

// cancelCompacted ends a watcher that needs what was compacted.
func (ws *WatchStream) cancelCompacted(w *watcher, snap *snapshot) *WatchResponse {
	return ws.cancel(w, WatchResponse{CompactRevision: snap.compact})
}

// cancel ends a watcher that cannot go on, because response says why.
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

// match collects the rows that concern the watcher, from revision on, and returns the revision to go on from.
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
		if !w.contains(r.key) || w.drops(r) {
			continue
		}
		if len(rows) == 0 || rows[len(rows)-1].revision != r.revision {
			revisions++
		}
		rows = append(rows, r)
		size += len(r.key) + int(r.size)
		if w.PrevKV {
			size += len(r.key) + int(r.size) // the former value is as large as the new one, more often than not
		}
	}
	return rows, snap.revision + 1
}

// events makes the events of rows, reading the values that are not in memory.
func (s *Store) events(ctx context.Context, snap *snapshot, rows []*row, prevKV bool) ([]*mvccpb.Event, error) {
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
	return events, a.complete(ctx, &s.values, s.values.lanes.watches)
}

// previous returns the live row that r replaced, or nil if there was none or it was compacted.
func (s *snapshot) previous(r *row) *row {
	if r.revision-1 < s.compact {
		return nil
	}
	if ki := s.get(r.key); ki != nil {
		return ki.live(r.revision - 1)
	}
	return nil
}
