package crash

import (
	"cmp"
	"errors"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// realTime relates revisions to the times at which clients first saw them.
type realTime struct {
	// seen is the highest revision that any client or the complete watch had seen at a time.
	seen highest
	// first is the first revision of the history.
	first int64
	// upper[r-first] is the earliest time at which a revision of r or above had been seen.
	upper []time.Duration
}

func newRealTime(h *History) *realTime {
	type sight struct {
		at  time.Duration
		rev int64
	}
	var sights []sight
	for _, op := range h.Ops {
		if op.Outcome == Acked {
			sights = append(sights, sight{op.Return, revision(op.Response)})
		}
	}
	first := h.base().Rev
	last := first
	for _, r := range h.Full {
		sights = append(sights, sight{r.Seen, r.Rev})
		last = max(last, r.Rev)
	}
	slices.SortFunc(sights, func(a, b sight) int { return cmp.Compare(a.at, b.at) })
	rt := &realTime{first: first, upper: make([]time.Duration, last-first+2)}
	top := first - 1
	for i := range rt.upper {
		rt.upper[i] = forever
	}
	for _, s := range sights {
		for r := top + 1; r <= min(s.rev, last); r++ {
			rt.upper[r-first] = s.at
		}
		top = max(top, s.rev)
		rt.seen.add(s.at, top)
	}
	return rt
}

// possible reports whether a request called at call can have made revision rev.
func (rt *realTime) possible(call time.Duration, rev int64) bool {
	return rt.seen.before(call) < rev && call <= rt.upper[rev-rt.first]
}

// checkRealTime reports answers that are older than a revision that was seen before the call.
func checkRealTime(t *Timeline, h *History, report *Report) {
	rt := newRealTime(h)
	for _, op := range h.Ops {
		if refusedAsFuture(op, rt.seen.before(op.Call)) {
			report.violate("stale: refused as a future revision, but revision %d had been seen before the call: %v",
				rt.seen.before(op.Call), op)
		}
		if op.Outcome != Acked || op.serializable() {
			continue
		}
		rev, seen := revision(op.Response), rt.seen.before(op.Call)
		if changed(op.Response) {
			seen++
		}
		if rev < seen {
			report.violate("stale: revision %d had been seen before the call: %v", rt.seen.before(op.Call), op)
		}
	}
	for i, owner := range t.owners {
		if owner.Op != nil && owner.Op.Call > rt.upper[i+1] {
			report.violate("revision %d was seen before its request was made: %v", t.first()+1+int64(i), owner.Op)
		}
	}
}

// refusedAsFuture reports whether a server refused a request as one of the future although it names no revision above
// seen.
func refusedAsFuture(op *Op, seen int64) bool {
	if op.Outcome != Rejected || op.serializable() || !errors.Is(modelError(op.Err), errFuture) {
		return false
	}
	revs := op.revisions()
	if r, ok := op.Request.(*pb.CompactionRequest); ok {
		revs = []int64{r.Revision}
	}
	return len(revs) == 0 || slices.Max(revs) <= seen
}

// assignUnclaimed assigns each revision that no acknowledged request claims to a request of unknown outcome or an
// expired lease. Each request gets at most one revision.
func assignUnclaimed(t *Timeline, h *History, rt *realTime, report *Report) {
	byValue := map[string]*Op{}
	var deletes []*Op
	for _, op := range h.Ops {
		vals := values(op.Request)
		for _, v := range vals {
			byValue[v] = op
		}
		if op.Outcome == Unknown && !op.readOnly() {
			deletes = append(deletes, op)
		}
	}
	var open []int64
	edges := map[int64][]*Op{}
	for i, owner := range t.owners {
		rev := t.first() + 1 + int64(i)
		if owner.Op != nil {
			continue
		}
		if expired := asExpiry(t, h.Full[i]); expired != nil {
			t.owners[i].Expire = expired
			report.Expired++
			continue
		}
		candidates := deletes
		if v, ok := firstValue(h.Full[i]); ok {
			writer := byValue[v]
			if writer == nil {
				report.violate("revision %d holds a value that no client wrote: %v", rev, brief(h.Full[i].Events))
				continue
			}
			if writer.Outcome == Rejected {
				report.violate("revision %d holds a request that was refused: %v", rev, writer)
				continue
			}
			candidates = []*Op{writer}
		}
		for _, op := range candidates {
			if op.Outcome != Unknown || !rt.possible(op.Call, rev) {
				continue
			}
			result, err := t.state(rev - 1).Apply(op.Request)
			if err == nil && equalEvents(result.Events, h.Full[i].Events) {
				edges[rev] = append(edges[rev], op)
			}
		}
		open = append(open, rev)
	}
	for _, rev := range open {
		t.owners[t.index(rev)].Candidates = edges[rev]
	}
	owner := match(open, edges)
	for op, rev := range owner {
		t.owners[t.index(rev)].Op = op
		report.UnknownApplied++
	}
	for _, rev := range open {
		if t.owners[t.index(rev)].Op != nil {
			continue
		}
		shown := h.Full[t.index(rev)]
		if v, ok := firstValue(shown); ok {
			report.Doubled++
			report.violate("revision %d repeats or misplaces a request: %v\n  events %v", rev, byValue[v],
				brief(shown.Events))
			continue
		}
		report.Doubled++
		report.violate("revision %d belongs to no request that can have made it: %v", rev, brief(shown.Events))
	}
}

func firstValue(r Revision) (string, bool) {
	for _, e := range r.Events {
		if len(e.Kv.Value) > 0 {
			return string(e.Kv.Value), true
		}
	}
	return "", false
}

// asExpiry returns the expiry that a revision shows if it only deletes keys with a lease. No client deletes such keys.
func asExpiry(t *Timeline, r Revision) *Expire {
	e := &Expire{}
	for _, event := range r.Events {
		_, old := t.state(r.Rev - 1).find(event.Kv.Key)
		if len(event.Kv.Value) > 0 || old == nil || old.Lease == 0 {
			return nil
		}
		e.Keys = append(e.Keys, event.Kv.Key)
	}
	return e
}

// match gives as many revisions as possible a request, by augmenting paths.
func match(revs []int64, edges map[int64][]*Op) map[*Op]int64 {
	owner := map[*Op]int64{}
	for _, rev := range revs {
		tried := map[*Op]bool{}
		var augment func(rev int64) bool
		augment = func(rev int64) bool {
			for _, op := range edges[rev] {
				if tried[op] {
					continue
				}
				tried[op] = true
				if other, taken := owner[op]; !taken || augment(other) {
					owner[op] = rev
					return true
				}
			}
			return false
		}
		augment(rev)
	}
	return owner
}
