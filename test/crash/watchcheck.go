package crash

import (
	"bytes"
	"fmt"
	"sort"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

// StreamRecord is the record of one watch stream and its watchers over all its connections.
type StreamRecord struct {
	Name     string
	Watchers []*pb.WatchCreateRequest
	Sessions []Session
}

// Session is one connection of a stream.
type Session struct {
	Server int
	// Opened is when the client created the watchers.
	Opened time.Duration
	// Starts are the start revisions of the watchers; 0 means the current one. The watcher's ID is its index.
	Starts    []int64
	Responses []Received
}

// Received is a response and the time at which it was received.
type Received struct {
	At       time.Duration
	Response *pb.WatchResponse
}

// WatchFault is the kind of a broken guarantee of watches.
type WatchFault string

// The guarantees have etcd's names.
const (
	FaultOrdered    WatchFault = "ordered"
	FaultUnique     WatchFault = "unique"
	FaultAtomic     WatchFault = "atomic"
	FaultReliable   WatchFault = "reliable"
	FaultBookmark   WatchFault = "bookmarkable"
	FaultContent    WatchFault = "content"
	FaultUnexpected WatchFault = "unexpected"
	// FaultStale is a creation at a revision older than one acknowledged before it. An etcd with one member never does
	// that.
	FaultStale WatchFault = "stale"
)

// Watches checks every session of every stream against the complete history.
func Watches(h *History, report *Report) {
	compactions, compacted := calledCompactions(h), ackedCompactions(h)
	rt := newRealTime(h)
	for _, stream := range h.Streams {
		for i, session := range stream.Sessions {
			for id, spec := range stream.Watchers {
				c := &watchCheck{
					full: h.Full, spec: spec, id: int64(id), start: session.Starts[id], compactions: &compactions,
					seen: rt.seen.before(session.Opened), compacted: compacted.before(session.Opened),
					complain: func(fault WatchFault, format string, args ...any) {
						report.WatchViolations++
						report.violate("watch %s watcher %d session %d (server %d, from %d): %s: %s",
							stream.Name, id, i,
							session.Server, session.Starts[id], fault, fmt.Sprintf(format, args...))
					},
				}
				c.run(session.Responses)
			}
		}
	}
}

// calledCompactions returns the highest revision that can have been compacted, over time. The base of a history is
// compacted from the beginning: no client can read what was before.
func calledCompactions(h *History) highest {
	called := []compaction{{-1, h.base().Compacted}}
	for _, op := range h.Ops {
		if r, ok := op.Request.(*pb.CompactionRequest); ok && op.Outcome != Rejected {
			called = append(called, compaction{op.Call, r.Revision})
		}
	}
	if h.Recovery != nil {
		called = append(called, compaction{h.Recovery.At, h.Recovery.Revision})
		called = append(called, h.Recovery.later...)
	}
	return running(called)
}

// expected is one event that a watcher must see.
type expected struct {
	event *mvccpb.Event
	rev   int64
	// last is true for the watcher's last event of its revision.
	last bool
}

// watchCheck checks one watcher in one session.
type watchCheck struct {
	full        []Revision
	spec        *pb.WatchCreateRequest
	id          int64
	start       int64
	compactions *highest
	// seen and compacted are the current and the compact revision that were acknowledged before the watcher was
	// created.
	seen, compacted int64
	complain        func(WatchFault, string, ...any)

	created bool
	// due are the next events, empty only if there are no more; rest is the history after them.
	due  []expected
	rest []Revision
	// covered is the revision of the last progress notification.
	covered int64
	// fragment is true if the last response announced another one.
	fragment bool
}

func (c *watchCheck) run(responses []Received) {
	for _, r := range responses {
		w := r.Response
		if w.WatchId != c.id && w.WatchId != -1 {
			continue
		}
		switch {
		case w.Created:
			if c.created || w.Canceled || w.Header.GetRevision() < 1 {
				c.complain(FaultUnexpected, "%v", w)
				return
			}
			c.created = true
			if w.Header.Revision < c.seen {
				c.complain(FaultStale, "created at revision %d, but %d had been seen before", w.Header.Revision, c.seen)
			}
			if c.start == 0 {
				c.start = w.Header.Revision + 1
			}
			first := sort.Search(len(c.full), func(i int) bool { return c.full[i].Rev >= c.start })
			c.rest = c.full[first:]
			c.next()
		case !c.created:
			c.complain(FaultUnexpected, "before created: %v", brief(w))
			return
		case w.Canceled:
			c.canceled(r)
			return
		case len(w.Events) == 0:
			c.progress(w)
		default:
			if !c.events(r) {
				return
			}
		}
	}
}

// next adds the watcher's events of the next revision that has any to due, and reports whether there is one.
func (c *watchCheck) next() bool {
	before := len(c.due)
	for len(c.rest) > 0 && len(c.due) == before {
		r := c.rest[0]
		c.rest = c.rest[1:]
		for _, e := range r.Events {
			if inRange(e.Kv.Key, c.spec.Key, c.spec.RangeEnd) && !c.filtered(e) {
				c.due = append(c.due, expected{event: e, rev: r.Rev})
			}
		}
	}
	if len(c.due) == before {
		return false
	}
	c.due[len(c.due)-1].last = true
	return true
}

func (c *watchCheck) filtered(e *mvccpb.Event) bool {
	for _, f := range c.spec.Filters {
		if f == pb.WatchCreateRequest_NOPUT && e.Type == mvccpb.Event_PUT ||
			f == pb.WatchCreateRequest_NODELETE && e.Type == mvccpb.Event_DELETE {
			return true
		}
	}
	return false
}

// canceled accepts one reason only: the watcher needed a compacted revision.
func (c *watchCheck) canceled(r Received) {
	compacted := r.Response.CompactRevision
	next := c.start
	if len(c.due) > 0 {
		next = c.due[0].rev
	}
	switch {
	case compacted == 0:
		c.complain(FaultUnexpected, "canceled: %v", r.Response)
	case compacted > c.compactions.before(r.At):
		c.complain(FaultUnexpected, "canceled by compaction %d, which no client requested", compacted)
	case len(c.due) > 0 && next >= compacted && c.start >= compacted:
		c.complain(FaultReliable, "canceled by compaction %d although the next event has revision %d", compacted, next)
	}
}

func (c *watchCheck) progress(w *pb.WatchResponse) {
	rev := w.Header.GetRevision()
	switch {
	case c.fragment:
		c.complain(FaultAtomic, "progress at %d between fragments", rev)
	case rev < c.covered:
		c.complain(FaultBookmark, "progress went back from %d to %d", c.covered, rev)
	case len(c.due) > 0 && c.due[0].rev <= rev:
		c.complain(FaultBookmark, "early: progress at %d before the event of revision %d on %q", rev, c.due[0].rev,
			c.due[0].event.Kv.Key)
	}
	c.covered = max(c.covered, rev)
}

// events compares a response with the events that are due. It returns false after a fault, which ends the check of this
// session because later faults would only follow from it.
func (c *watchCheck) events(r Received) bool {
	w := r.Response
	if c.start < c.compacted {
		c.complain(FaultStale, "events, but the revisions below %d had been compacted before", c.compacted)
		return false
	}
	for i, got := range w.Events {
		if len(c.due) == 0 {
			c.complain(FaultUnexpected, "event beyond the history or seen before: %v", brief(got))
			return false
		}
		want := c.due[0]
		if !sameEvent(got, want) {
			c.complain(c.kind(got), "got %v\n  due was revision %d %v", brief(got), want.rev, brief(want.event))
			return false
		}
		if !c.rightPrevKV(got, want, r.At) {
			c.complain(FaultContent, "prev_kv of %v\n  should be %v", brief(got), brief(want.event))
			return false
		}
		if got.Kv.ModRevision <= c.covered {
			c.complain(FaultBookmark, "event of revision %d after progress at %d", got.Kv.ModRevision, c.covered)
			return false
		}
		last := i == len(w.Events)-1
		if last && !w.Fragment && !want.last {
			c.complain(FaultAtomic, "revision %d is split over responses", want.rev)
			return false
		}
		if last && w.Fragment && !c.spec.Fragment {
			c.complain(FaultAtomic, "fragment that the client did not request")
			return false
		}
		if c.due = c.due[1:]; len(c.due) == 0 {
			c.next()
		}
	}
	c.fragment = w.Fragment
	if h, e := w.Header.GetRevision(), w.Events[len(w.Events)-1].Kv.ModRevision; h < e {
		c.complain(FaultContent, "header revision %d below that of the event, %d", h, e)
		return false
	}
	return true
}

func sameEvent(got *mvccpb.Event, want expected) bool {
	return got.Type == want.event.Type && proto.Equal(got.Kv, want.event.Kv)
}

// rightPrevKV accepts an absent prev_kv if its revision may have been compacted.
func (c *watchCheck) rightPrevKV(got *mvccpb.Event, want expected, at time.Duration) bool {
	if !c.spec.PrevKv {
		return got.PrevKv == nil
	}
	if got.PrevKv == nil && want.rev-1 < c.compactions.before(at) {
		return true
	}
	return proto.Equal(got.PrevKv, want.event.PrevKv)
}

// kind returns the guarantee that a wrong event breaks.
func (c *watchCheck) kind(got *mvccpb.Event) WatchFault {
	rev := got.Kv.ModRevision
	for c.next() {
	}
	for _, d := range c.due {
		if d.rev == rev && bytes.Equal(d.event.Kv.Key, got.Kv.Key) {
			if d.rev == c.due[0].rev && d.event == c.due[0].event {
				return FaultContent
			}
			return FaultReliable
		}
	}
	if rev < c.due[0].rev {
		for _, r := range c.full {
			if r.Rev != rev || rev < c.start {
				continue
			}
			for _, e := range r.Events {
				if sameEvent(got, expected{event: e}) {
					return FaultUnique
				}
			}
		}
		return FaultOrdered
	}
	return FaultUnexpected
}
