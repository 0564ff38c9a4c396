package logstructured

// watcher is a cursor into the history. hub.mu guards all fields except those that never change: the request, stream,
// group and compacted.
type watcher struct {
	WatchRequest
	stream *WatchStream
	group  *watchGroup
	// compacted is set if the start revision was already compacted when the watcher was created.
	compacted bool

	state watcherState
	// slot is the index of an idle watcher in its group's idle.
	slot int
	// pending is the first unread revision that may concern the watcher. It is valid while the watcher is marked or
	// being read.
	pending Revision
	// next is the watcher after this one in a queue.
	next *watcher
	// notifySlot is the watcher's index in its stream's notify, if it requested notifications.
	notifySlot int
	// recent is set by events, which make the next periodic progress notification unnecessary.
	recent bool
}

// watcherState is the place in which a watcher waits.
type watcherState uint8

const (
	// watcherIdle means that the watcher is among the idle watchers of its group.
	watcherIdle watcherState = iota
	// watcherFuture means that it is in hub.future.
	watcherFuture
	// watcherMarked means that it is in one of its stream's queues.
	watcherMarked
	// watcherReading means that Next has taken it from a queue and is reading it.
	watcherReading
	// watcherClosed means that it has ended. A queue may still hold it.
	watcherClosed
)

// watchFilter is the set of event types that the request's NoPut and NoDelete leave.
type watchFilter uint8

const (
	putsAndDeletes watchFilter = iota
	putsOnly
	deletesOnly
	neither
	filters
)

func (w *watcher) filter() watchFilter {
	switch {
	case w.NoPut && w.NoDelete:
		return neither
	case w.NoPut:
		return deletesOnly
	case w.NoDelete:
		return putsOnly
	}
	return putsAndDeletes
}

// filtersOf returns the filters that r passes.
func filtersOf(r *row) [2]watchFilter {
	if r.tombstone() {
		return [...]watchFilter{putsAndDeletes, deletesOnly}
	}
	return [...]watchFilter{putsAndDeletes, putsOnly}
}

func (w *watcher) drops(r *row) bool {
	if r.tombstone() {
		return w.NoDelete
	}
	return w.NoPut
}

// watcherQueue is a first-in, first-out queue. A watcher is in one queue at most.
type watcherQueue struct{ head, tail *watcher }

func (q *watcherQueue) push(w *watcher) {
	if q.tail == nil {
		q.head = w
	} else {
		q.tail.next = w
	}
	q.tail = w
}

func (q *watcherQueue) pop() *watcher {
	w := q.head
	if w != nil {
		if q.head, w.next = w.next, nil; q.head == nil {
			q.tail = nil
		}
	}
	return w
}

// take moves everything from other to the end of q.
func (q *watcherQueue) take(other *watcherQueue) {
	if other.head == nil {
		return
	}
	if q.tail == nil {
		q.head = other.head
	} else {
		q.tail.next = other.head
	}
	q.tail = other.tail
	*other = watcherQueue{}
}
