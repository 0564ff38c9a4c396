package logstructured_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"

	ls "github.com/stele-db/stele/logstructured"
)

// recordedStream is a watch stream of which one goroutine writes down every response, for comparison with the oracle
// afterwards.
type recordedStream struct {
	*ls.WatchStream
	store *replica

	mu sync.Mutex
	// watchers by the ID that the test chose; each ID is used once.
	watchers map[ls.WatchID]*recordedWatcher
	// responses of the whole stream, in order.
	responses []*ls.WatchResponse
	// progress are the requests for progress: the revision known at the request, and how many responses there
	// had been.
	progress []progressRequest
	// hold blocks the reader while a test holds it.
	hold sync.RWMutex
	done chan error
}

type progressRequest struct {
	revision  int64
	responses int
}

// recordedWatcher holds what the client knows about a watcher.
type recordedWatcher struct {
	request ls.WatchRequest
	// before is the current revision before Create was called, compacted the compact revision known by then.
	before, compacted int64
	canceled          bool
}

func recordStream(t testing.TB, store *replica) *recordedStream {
	s := &recordedStream{
		WatchStream: store.NewWatchStream(), store: store,
		watchers: map[ls.WatchID]*recordedWatcher{}, done: make(chan error, 1),
	}
	go func() { s.done <- s.read() }()
	t.Cleanup(func() { s.close(t) })
	return s
}

func (s *recordedStream) read() error {
	for {
		s.hold.RLock()
		s.hold.RUnlock() //nolint:staticcheck // a gate, not a critical section
		r, err := s.Next(context.Background())
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.responses = append(s.responses, r)
		s.mu.Unlock()
	}
}

func (s *recordedStream) close(t testing.TB) {
	s.Close()
	if err := <-s.done; !errors.Is(err, ls.ErrStopped) {
		t.Errorf("Next of a closed stream: %v", err)
	}
	s.done <- ls.ErrStopped
}

func (s *recordedStream) create(r ls.WatchRequest, compacted int64) {
	s.mu.Lock()
	s.watchers[r.ID] = &recordedWatcher{request: r, before: int64(s.store.Revision()), compacted: compacted}
	s.mu.Unlock()
	s.Create(ls.Unguarded, r)
}

func (s *recordedStream) cancel(id ls.WatchID) {
	s.mu.Lock()
	if w := s.watchers[id]; w != nil {
		w.canceled = true
	}
	s.mu.Unlock()
	s.Cancel(id)
}

// requestProgress returns how many responses there were before.
func (s *recordedStream) requestProgress() int {
	s.mu.Lock()
	before := len(s.responses)
	s.progress = append(s.progress, progressRequest{int64(s.store.Revision()), before})
	s.mu.Unlock()
	s.RequestProgress()
	return before
}

// synced waits until the stream has returned all events up to a revision.
func (s *recordedStream) synced(t testing.TB, revision int64) {
	t.Helper()
	before := s.requestProgress() // the answer to an earlier request is not the one to wait for
	eventually(t, fmt.Sprintf("the stream reports progress up to revision %d", revision), func() bool {
		return slices.ContainsFunc(s.recorded()[before:], func(r *ls.WatchResponse) bool {
			return r.WatchID == ls.InvalidWatchID && !r.Created && int64(r.Revision) >= revision
		})
	})
}

func (s *recordedStream) recorded() []*ls.WatchResponse {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.responses)
}

// cursor follows the responses to one watcher.
type cursor struct {
	*recordedWatcher
	created bool
	// start is the first revision whose events it must get.
	start int64
	// complete is the revision up to which the watcher has certainly got all events: that of the newest event or
	// notification.
	complete int64
	ended    bool
	// compactedAway is set when it ended by a compaction: its ID stays taken until the client cancels it, as in etcd.
	compactedAway bool
	// expected are the events that it should see, from start to the end of the test; next is the first not seen yet.
	expected []oracleEvent
	next     int
}

// verify compares the responses of the stream with the events of the oracle.
func (s *recordedStream) verify(t testing.TB, o *oracle, compactions []int64) (events int) {
	t.Helper()
	cursors := map[ls.WatchID]*cursor{}
	for id, w := range s.watchers {
		cursors[id] = &cursor{recordedWatcher: w}
	}
	responses := s.recorded()
	for i, r := range responses {
		fail := func(format string, args ...any) {
			t.Helper()
			t.Fatalf("response %d %s\n  %s", i, responseText(r), fmt.Sprintf(format, args...))
		}
		if r.WatchID == ls.InvalidWatchID {
			if r.Created || r.Canceled || len(r.Events) > 0 {
				fail("is not a progress notification, and no creation was to fail")
			}
			for id, c := range cursors {
				if c.created && !c.ended && c.next < len(c.expected) && c.expected[c.next].rev <= int64(r.Revision) {
					fail("progress overtook the event of revision %d of watcher %d", c.expected[c.next].rev, id)
				}
			}
			continue
		}
		c := cursors[r.WatchID]
		if c == nil {
			fail("no watcher has this ID")
		}
		cancelOfCompacted := c.compactedAway && c.canceled && r.Canceled && r.CompactRevision == 0
		if c.ended && !cancelOfCompacted {
			fail("the watcher had ended")
		}
		switch {
		case r.Created:
			if c.created || r.Canceled || len(r.Events) > 0 {
				fail("created must come once and alone")
			}
			c.open(o, r, firstRevision(responses[i+1:], r.WatchID), fail)
		case !c.created:
			fail("came before created")
		case r.Canceled:
			c.end(r, compactions, fail)
		case len(r.Events) == 0:
			if !c.request.ProgressNotify {
				fail("a notification that was not requested")
			}
			if c.next < len(c.expected) && c.expected[c.next].rev <= int64(r.Revision) {
				fail("progress overtook the event of revision %d", c.expected[c.next].rev)
			}
			c.complete = max(c.complete, int64(r.Revision))
		default:
			events += len(r.Events)
			c.advance(o, r, fail)
		}
	}
	for id, c := range cursors {
		switch {
		case !c.created:
			t.Fatalf("watcher %d was never created", id)
		case c.canceled && !c.ended:
			t.Fatalf("watcher %d was canceled without a response", id)
		case !c.ended && c.next < len(c.expected):
			t.Fatalf("watcher %d %+v missed the event of revision %d and %d more",
				id, c.request, c.expected[c.next].rev, len(c.expected)-c.next-1)
		}
	}
	for _, p := range s.progress {
		if !slices.ContainsFunc(responses[p.responses:], func(r *ls.WatchResponse) bool {
			return r.WatchID == ls.InvalidWatchID && int64(r.Revision) >= p.revision
		}) {
			t.Fatalf("a request for progress at revision %d was never answered", p.revision)
		}
	}
	return events
}

// firstRevision returns the revision of the first event of a watcher, 0 if there is none.
func firstRevision(responses []*ls.WatchResponse, id ls.WatchID) int64 {
	for _, r := range responses {
		if r.WatchID == id && len(r.Events) > 0 {
			return r.Events[0].Kv.ModRevision
		}
	}
	return 0
}

// open determines where the watcher starts and hence what it should see.
func (c *cursor) open(o *oracle, r *ls.WatchResponse, first int64, fail func(string, ...any)) {
	c.created = true
	if int64(r.Revision) < c.before {
		fail("created at a revision below the %d that had been acknowledged", c.before)
	}
	if c.start = int64(c.request.StartRevision); c.start == 0 {
		// It begins somewhere between the call and the answer.
		if c.start = int64(r.Revision) + 1; first > c.before && first < c.start {
			c.start = first
		}
	}
	c.complete = c.start - 1
	for _, e := range o.eventsFrom(c.start) {
		dropped := c.request.NoPut
		if e.delete {
			dropped = c.request.NoDelete
		}
		if !dropped && inWatchRange(e.kv.Key, c.request.KeyRange) {
			c.expected = append(c.expected, e)
		}
	}
}

func inWatchRange(key []byte, r ls.KeyRange) bool {
	if len(r.Key) == 0 {
		r.Key = []byte{0}
	}
	return inRange(key, r)
}

func (c *cursor) end(r *ls.WatchResponse, compactions []int64, fail func(string, ...any)) {
	compacted := int64(r.CompactRevision)
	c.ended, c.compactedAway = true, compacted != 0
	switch {
	case compacted == 0 && !c.canceled:
		fail("the watcher was not canceled")
	case compacted == 0:
	case !slices.Contains(compactions, compacted):
		fail("nothing was compacted at this revision")
	case c.complete+1 >= compacted:
		fail("the watcher had all events up to %d and needs no compacted revision", c.complete)
	case r.Revision != 0 || r.Err != nil:
		fail("a watcher canceled by compaction has header revision 0 and no reason")
	}
}

func (c *cursor) advance(o *oracle, r *ls.WatchResponse, fail func(string, ...any)) {
	if c.start < c.compacted {
		fail("the start revision %d had been compacted at %d before", c.start, c.compacted)
	}
	last := r.Events[len(r.Events)-1].Kv.ModRevision
	if int64(r.Revision) < last {
		fail("the header's revision is below the event's")
	}
	for _, ev := range r.Events {
		if c.next >= len(c.expected) {
			fail("more events than there were")
		}
		want := c.expected[c.next]
		c.next++
		got := eventText(ev.Type == mvccpb.Event_DELETE, ev.Kv)
		if expected := eventText(want.delete, want.kv); got != expected {
			fail("event %s, the oracle has %s", got, expected)
		}
		c.checkPrev(o, ev, want, fail)
	}
	if c.next < len(c.expected) && c.expected[c.next].rev == last {
		fail("revision %d was split", last)
	}
	c.complete = max(c.complete, last)
}

func (c *cursor) checkPrev(o *oracle, ev *mvccpb.Event, want oracleEvent, fail func(string, ...any)) {
	switch {
	case ev.PrevKv == nil && want.prev != nil && c.request.PrevKV && want.rev > o.compacted:
		fail("the previous value of %q is missing though it was not compacted", want.kv.Key)
	case ev.PrevKv != nil && !c.request.PrevKV:
		fail("a previous value that was not requested")
	case ev.PrevKv != nil && kvText(ev.PrevKv) != kvText(want.prev):
		fail("previous value %s, the oracle has %s", kvText(ev.PrevKv), kvText(want.prev))
	}
}

func eventText(deleted bool, kv *mvccpb.KeyValue) string {
	if deleted {
		return "DELETE " + kvText(kv)
	}
	return "PUT " + kvText(kv)
}

func responseText(r *ls.WatchResponse) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "{id=%d rev=%d created=%v canceled=%v err=%v compact=%d",
		r.WatchID, r.Revision, r.Created, r.Canceled, r.Err, r.CompactRevision)
	for i, ev := range r.Events {
		if i == 8 {
			fmt.Fprintf(&b, " and %d more", len(r.Events)-i)
			break
		}
		fmt.Fprintf(&b, " %s@%d", ev.Type, ev.Kv.ModRevision)
	}
	return b.String() + "}"
}
