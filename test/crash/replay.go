package crash

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

// History is the record of one run.
type History struct {
	Ops []*Op
	// Base is the state at the beginning of the history; nil is the empty store.
	Base *State
	// Recovery is the recovery that ended the history; nil if the run ended it.
	Recovery *Recovery
	// Full holds the events of a watch of everything with prev_kv: Full[i] has those of revision i+1 after the base's.
	Full []Revision
	// Windows divide the run at moments without a pending request.
	Windows []Window
	Streams []*StreamRecord
}

// base returns the state before the first revision of Full.
func (h *History) base() *State {
	if h.Base != nil {
		return h.Base
	}
	return newState()
}

// Revision is one revision of the complete watch.
type Revision struct {
	Rev    int64
	Events []*mvccpb.Event
	// Seen is when the revision was received.
	Seen time.Duration
}

// Owner is the request that made a revision: Op is nil for an expired lease.
type Owner struct {
	Op     *Op
	Expire *Expire
	// Candidates are the requests of unknown outcome that can have made the revision, if no answer claims it. Op is one
	// of them.
	Candidates []*Op
}

// Report is the result of the checkers.
type Report struct {
	Ops, AckedWrites, Reads, Rejected, Unknown, UnknownApplied, Expired int
	// Lost counts acknowledged writes without their revision, Doubled revisions that repeat a request.
	Lost, Doubled   int
	WatchViolations int
	Violations      []string
}

const maxViolations = 50

func (r *Report) violate(format string, args ...any) {
	if len(r.Violations) < maxViolations {
		r.Violations = append(r.Violations, fmt.Sprintf(format, args...))
	} else if len(r.Violations) == maxViolations {
		r.Violations = append(r.Violations, "and more")
	}
}

// Timeline is the total order that a complete watch shows.
type Timeline struct {
	// states[i] is the state at revision first()+i.
	states []*State
	// owners[i] is the owner of revision first()+1+i.
	owners []Owner
}

// first returns the first revision of the history: 1, or that of a recovery.
func (t *Timeline) first() int64 { return t.states[0].Rev }

// last returns the newest revision.
func (t *Timeline) last() int64 { return t.first() + int64(len(t.states)) - 1 }

// state returns the state at rev, which is between first and last.
func (t *Timeline) state(rev int64) *State { return t.states[rev-t.first()] }

// index returns the index of rev, which is above first, in owners and the complete watch.
func (t *Timeline) index(rev int64) int { return int(rev - t.first() - 1) }

func (t *Timeline) known(rev int64) bool { return rev >= t.first() && rev <= t.last() }

// Replay applies every request at its revision and reports where the model disagrees. It returns nil if the complete
// watch shows no total order.
func Replay(h *History, report *Report) *Timeline {
	report.Ops = len(h.Ops)
	t := buildTimeline(h, report)
	if t == nil {
		return nil
	}
	for _, op := range h.Ops {
		switch op.Outcome {
		case Acked:
			replayAcked(t, h, op, report)
		case Rejected:
			report.Rejected++
			if modelError(op.Err) == nil && !leaseNotFound(op.Err) {
				report.violate("a valid request was refused: %v", op)
			}
		case Unknown:
			if !op.readOnly() {
				report.Unknown++
			}
		}
	}
	order := newRealTime(h)
	assignUnclaimed(t, h, order, report)
	checkRealTime(t, h, report)
	checkCompactions(h, report)
	return t
}

// buildTimeline derives the states from the events alone. The requests are compared with the model later, one by one.
func buildTimeline(h *History, report *Report) *Timeline {
	t := &Timeline{states: []*State{h.base()}, owners: make([]Owner, len(h.Full))}
	for i, r := range h.Full {
		if want := t.last() + 1; r.Rev != want {
			report.violate("the complete watch shows revision %d where %d is due", r.Rev, want)
			return nil
		}
		before := t.states[i]
		next := &State{Rev: r.Rev, prev: before, kvs: slices.Clone(before.kvs), sum: chain(before.sum, r.Events)}
		for _, e := range r.Events {
			at, old := next.find(e.Kv.Key)
			switch {
			case e.Type == mvccpb.Event_PUT && old != nil:
				next.kvs[at] = e.Kv
			case e.Type == mvccpb.Event_PUT:
				next.kvs = slices.Insert(next.kvs, at, e.Kv)
			case old != nil:
				next.kvs = slices.Delete(next.kvs, at, at+1)
			default:
				report.violate("revision %d deletes %q, which does not exist", r.Rev, e.Kv.Key)
			}
		}
		t.states = append(t.states, next)
	}
	return t
}

// replayAcked checks one answer, and claims the revision of a write.
func replayAcked(t *Timeline, h *History, op *Op, report *Report) {
	rev := revision(op.Response)
	if !t.known(rev) {
		if changed(op.Response) {
			report.AckedWrites++
			report.Lost++
		}
		report.violate("revision %d of an answer is not in the history (%d to %d): %v", rev, t.first(), t.last(), op)
		return
	}
	if _, ok := op.Request.(*pb.CompactionRequest); ok {
		return
	}
	if !changed(op.Response) {
		report.Reads++
		result, err := t.state(rev).Apply(op.Request)
		if err != nil || len(result.Events) > 0 || !proto.Equal(result.Response, op.Response) {
			report.violate("wrong answer: %v\n  the model says %v (error %v)", op, brief(result.Response), err)
		}
		return
	}
	report.AckedWrites++
	if rev <= t.first() {
		report.Lost++
		report.violate("a write at revision %d: %v", rev, op)
		return
	}
	result, err := t.state(rev - 1).Apply(op.Request)
	if err != nil || !proto.Equal(result.Response, op.Response) {
		report.violate("wrong answer to a write: %v\n  the model says %v (error %v)", op, brief(result.Response), err)
	}
	if shown := h.Full[t.index(rev)].Events; !equalEvents(result.Events, shown) {
		report.Lost++
		report.violate("revision %d does not hold its acknowledged write: %v\n  events %v", rev,
			op, brief(shown))
		return
	}
	if other := t.owners[t.index(rev)].Op; other != nil {
		report.Lost++
		report.violate("revision %d was given to two requests: %v\n  and %v", rev, other, op)
		return
	}
	t.owners[t.index(rev)] = Owner{Op: op}
}

// changed reports whether a response shows that its request made a revision.
func changed(response proto.Message) bool {
	switch r := response.(type) {
	case *pb.PutResponse, *pb.LeaseRevokeResponse: // the clients revoke only leases with a key
		return true
	case *pb.DeleteRangeResponse:
		return r.Deleted > 0
	case *pb.TxnResponse:
		for _, one := range r.Responses {
			switch o := one.Response.(type) {
			case *pb.ResponseOp_ResponsePut:
				return true
			case *pb.ResponseOp_ResponseDeleteRange:
				if o.ResponseDeleteRange.Deleted > 0 {
					return true
				}
			case *pb.ResponseOp_ResponseTxn:
				if changed(o.ResponseTxn) {
					return true
				}
			}
		}
	}
	return false
}

func equalEvents(a, b []*mvccpb.Event) bool {
	return slices.EqualFunc(a, b, func(x, y *mvccpb.Event) bool { return proto.Equal(x, y) })
}

// checkCompactions compares answers about compacted revisions with the compactions that can have happened by then.
// Linear checks this exactly, but only within a window.
func checkCompactions(h *History, report *Report) {
	byReturn := ackedCompactions(h)
	byCall := calledCompactions(h)
	for _, op := range h.Ops {
		revs := op.revisions()
		if r, ok := op.Request.(*pb.CompactionRequest); ok {
			// A compaction at the compact revision is refused, a read at it is not.
			revs = []int64{r.Revision - 1}
		}
		if len(revs) == 0 {
			continue
		}
		oldest := slices.Min(revs)
		refused := op.Outcome == Rejected && errors.Is(modelError(op.Err), errCompacted)
		if op.Outcome == Acked && oldest < h.base().Compacted {
			report.violate("an answer from before the history, which begins at %d: %v", h.base().Rev, op)
		}
		if op.Outcome == Acked && !op.serializable() && oldest < byReturn.before(op.Call) {
			report.violate("an answer from below the compact revision %d: %v", byReturn.before(op.Call), op)
		}
		if refused && oldest >= byCall.before(op.Return) {
			report.violate("refused as compacted, but only %d can have been compacted: %v",
				byCall.before(op.Return), op)
		}
	}
}

// ackedCompactions returns the highest revision that must have been compacted, over time.
func ackedCompactions(h *History) highest {
	done := []compaction{{-1, h.base().Compacted}}
	for _, op := range h.Ops {
		if r, ok := op.Request.(*pb.CompactionRequest); ok && op.Outcome == Acked {
			done = append(done, compaction{op.Return, r.Revision})
		}
	}
	return running(done)
}

// highest is a maximum of revisions over time.
type highest struct {
	times []time.Duration
	revs  []int64
}

// compaction is a compact revision and when it was called or acknowledged; -1 means from the beginning.
type compaction struct {
	at  time.Duration
	rev int64
}

func running(compactions []compaction) highest {
	slices.SortFunc(compactions, func(a, b compaction) int { return cmp.Compare(a.at, b.at) })
	var h highest
	var top int64
	for _, c := range compactions {
		top = max(top, c.rev)
		h.add(c.at, top)
	}
	return h
}

func (h *highest) add(at time.Duration, rev int64) {
	h.times, h.revs = append(h.times, at), append(h.revs, rev)
}

// before returns the maximum of the revisions before at.
func (h *highest) before(at time.Duration) int64 {
	i, _ := slices.BinarySearch(h.times, at)
	if i == 0 {
		return 0
	}
	return h.revs[i-1]
}
