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
}

// WatchResponse is one message of a watch stream, in the order in which it must be sent.
type WatchResponse struct {
	WatchID WatchID
	// Revision is the header's.
	Revision Revision
	Created  bool
	Canceled bool
	// Err tells why a creation failed: ErrDuplicateWatchID, ErrEmptyWatchRange, ErrCompacted (negative start) or what
	// the guard said.
	Err error
	// CompactRevision is set when the watcher was canceled because it needs a revision below it.
	CompactRevision Revision
	// Events never split a revision: all events of the last revision are there. They are shared: never modify them.
	Events []*mvccpb.Event
}

// WatchStream carries any number of watchers. Create, Cancel, RequestProgress and Close may be called concurrently with
// Next; Next by one goroutine at a time. No response is queued: Next carries out each call, and makes each response,
// when it is called, so a slow caller lags and costs no memory.
type WatchStream struct {
	inputs *watchInputs
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
	// notify holds the watchers that asked for periodic notifications. When these are due, the watchers before index
	// due are looked at, from the last one to the first. The next time is nextTick.
	notify   []*watcher
	due      int
	nextTick time.Time
	// ends are the stream's questions for the end of the log, and requested those of RequestProgress that were not
	// answered.
	ends      streamEnds
	requested progressRequests
	closed    bool
}

// watchInputs is what the watch streams need from the store.
type watchInputs struct {
	hub *hub
	// reads asks the database for the end of the log, and knows what has been applied.
	reads  *reads
	values *values
	logger *logrus.Entry
	// catchUp makes the writer apply what other replicas have appended.
	catchUp func()
	// stopped is closed when the store has stopped.
	stopped <-chan struct{}
	// requestTimeout is how long a stream waits for an answer to be applied before it asks again.
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

// streamCall is a call that has to wait its turn. Calls are carried out in order: so are the responses of creations, a
// watcher can be canceled before it was created, and the answer to a request for progress comes after the creations
// before it.
type streamCall struct {
	// create is the watcher to add, or else cancel the one to end, or else progress is set.
	create   *WatchRequest
	guard    Guard // of create
	cancel   WatchID
	progress bool
	// question is the one whose answer a creation waits for.
	question int
}

// pushUpcoming queues a watcher that has something to read from revision on, once the hub's round is over. hub.mu is
// held.
func (ws *WatchStream) pushUpcoming(w *watcher, revision Revision) {
	if ws.round != ws.hub.round {
		ws.unsynced.take(&ws.upcoming)
		ws.round = ws.hub.round
		ws.hub.touched = append(ws.hub.touched, ws)
	}
	ws.upcoming.push(w)
	ws.hub.setPending(w, revision)
}

// ask asks the database for the end of the log and returns the number of the question. hub.mu is held.
func (ws *WatchStream) ask() int {
	ws.ends.asked++
	ws.askAgain()
	return ws.ends.asked
}

// askAgain repeats the newest question. hub.mu is held.
func (ws *WatchStream) askAgain() {
	question := ws.ends.asked
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
		ws.ends.answered(streamEnd{question, r.end.Position})
		if ws.hub.marked.head.Position >= r.end.Position {
			ws.signal()
			return
		}
		ws.hub.waiting.add(r.end.Position, ws) // the hub wakes the stream
		if ws.hub.current.Load().head.Position < r.end.Position {
			ws.ends.retryAt = time.Now().Add(ws.inputs.requestTimeout)
			ws.inputs.catchUp()
			ws.signal() // for retryAt
		}
	})
}
