package logstructured

import (
	"time"

	"github.com/sirupsen/logrus"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// WatchID identifies a watcher on its stream.
type WatchID int64

// InvalidWatchID is the ID of responses that belong to no watcher: failed creations and answers to RequestProgress.
const InvalidWatchID WatchID = -1

const (
	// maxPendingCalls bounds the unanswered calls of Create and Cancel. At the bound, further calls block.
	maxPendingCalls = 1000
	// watchRetry is how long a stream waits before it queries a failing database again.
	watchRetry = 100 * time.Millisecond
)

// WatchRequest creates a watcher.
type WatchRequest struct {
	// KeyRange is as in a range request, but an empty Key means "\x00".
	KeyRange
	// ID is chosen by the client, or 0 for the next free one.
	ID WatchID
	// StartRevision is the first revision of interest; 0 is the one after the current.
	StartRevision Revision
	PrevKV        bool
	// ProgressNotify requests periodic notifications while there are no events.
	ProgressNotify bool
	// NoPut and NoDelete drop the events of that type.
	NoPut, NoDelete bool
	// Fragment is returned in the watcher's responses that have events. The store does not split them.
	Fragment bool
}

// WatchResponse is one message of a watch stream. Messages must be sent in the order in which Next returns them.
type WatchResponse struct {
	WatchID WatchID
	// Revision is the revision of the response header.
	Revision Revision
	Created  bool
	Canceled bool
	// Err is why a creation failed: ErrDuplicateWatchID, ErrEmptyWatchRange, ErrCompacted (negative start) or the
	// guard's error. It is also set if the watcher was canceled because its history in the database is damaged.
	Err error
	// CompactRevision is set when the watcher was canceled because it needs a revision below it.
	CompactRevision Revision
	// Events holds whole revisions only. The events are shared and must not be modified.
	Events []*mvccpb.Event
	// Fragment is the request's Fragment if there are Events.
	Fragment bool
}

// WatchStream carries any number of watchers. Create, Cancel, RequestProgress and Close may be called concurrently with
// Next; Next itself by one goroutine at a time. Responses are not queued: Next carries out the calls and makes each
// response when it is called. A slow caller therefore lags, and costs no memory.
type WatchStream struct {
	inputs *watchInputs
	hub    *hub
	budget Budget
	// wake makes Next check for responses again. room unblocks Create and Cancel.
	wake chan struct{}
	room chan struct{}

	// Guarded by hub.mu:
	watchers map[WatchID]*watcher
	nextID   WatchID
	// calls holds the calls that Next has yet to carry out.
	calls []streamCall
	// unsynced holds the watchers with something to read. upcoming holds those that were marked in round, which can be
	// read once that round is over.
	unsynced, upcoming watcherQueue
	round              uint64
	// future is the number of watchers whose start revision has yet to be reached.
	future int
	// notify holds the watchers that requested periodic notifications. When these are due, the watchers before index
	// due are visited, from the last one to the first. nextTick is when they are due next.
	notify   []*watcher
	due      int
	nextTick time.Time
	// ends are the stream's queries of the log's head. requested are the calls of RequestProgress that have not been
	// answered.
	ends      streamEnds
	requested progressRequests
	closed    bool
}

// watchInputs holds what the watch streams need from the store.
type watchInputs struct {
	hub *hub
	// reads queries the database for the log's head, and knows which heads have been applied.
	reads  *reads
	values *values
	logger *logrus.Entry
	// wakeFollower makes the writer apply appends of other replicas.
	wakeFollower func()
	// stopped is closed when the store has stopped.
	stopped <-chan struct{}
	// requestTimeout is how long a stream waits for an answer to be applied before it queries again.
	requestTimeout time.Duration
	// progressInterval is the period of progress notifications.
	progressInterval time.Duration
}

func newWatchStream(in *watchInputs) *WatchStream {
	ws := &WatchStream{
		inputs: in, hub: in.hub,
		wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
		watchers: make(map[WatchID]*watcher),
	}
	in.hub.mu.Lock()
	defer in.hub.mu.Unlock()
	in.hub.streams[ws] = struct{}{}
	return ws
}

func (ws *WatchStream) signal() {
	select {
	case ws.wake <- struct{}{}:
	default:
	}
}

// streamCall is a call that Next has yet to carry out. Calls are carried out in order. The responses of creations are
// therefore in order too, a client can cancel a watcher whose creation has not been answered, and the answer to a
// progress request follows the creations before it.
type streamCall struct {
	// create is the watcher to add. If it is nil, the call is a progress request if progress is set, and otherwise ends
	// the watcher cancel.
	create   *WatchRequest
	guard    Guard // of create
	cancel   WatchID
	progress bool
	// query is the number of the query whose answer a creation waits for.
	query int
}

// pushUpcoming queues a watcher that has something to read from revision on. Next reads it once the hub's round is
// over. hub.mu is held.
func (ws *WatchStream) pushUpcoming(w *watcher, revision Revision) {
	if ws.round != ws.hub.round {
		ws.unsynced.take(&ws.upcoming)
		ws.round = ws.hub.round
		ws.hub.touched = append(ws.hub.touched, ws)
	}
	ws.upcoming.push(w)
	ws.hub.setPending(w, revision)
}

// queryHead queries the database for the log's head and returns the number of the query. hub.mu is held.
func (ws *WatchStream) queryHead() int {
	ws.ends.newest++
	ws.repeatQuery()
	return ws.ends.newest
}

// repeatQuery repeats the newest query. hub.mu is held.
func (ws *WatchStream) repeatQuery() {
	query := ws.ends.newest
	ws.ends.retryAt = time.Time{}
	ws.inputs.reads.join(func(r *round) {
		ws.hub.mu.Lock()
		defer ws.hub.mu.Unlock()
		where, _ := ws.inputs.reads.applied.standing(r.end.Head)
		if r.err != nil || where == foreign {
			ws.ends.retryAt = time.Now().Add(watchRetry)
			ws.signal()
			return
		}
		ws.ends.answered(streamEnd{query, r.end.Position})
		if ws.hub.marked.head.Position >= r.end.Position {
			ws.signal()
			return
		}
		ws.hub.waiting.add(r.end.Position, ws) // the hub wakes the stream
		if ws.hub.current.Load().head.Position < r.end.Position {
			ws.ends.retryAt = time.Now().Add(ws.inputs.requestTimeout)
			ws.inputs.wakeFollower()
			ws.signal() // Next must wait until retryAt at most
		}
	})
}
