package crash

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/anishathalye/porcupine"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

// Window is a part of the run between two moments without a pending request. The checker's time grows with the square
// of a history's length.
type Window struct {
	// From and To bound the calls of the window's requests.
	From, To time.Duration
	// Rev and Compacted are the current and the compact revision at From, as a client read them.
	Rev, Compacted int64
}

// step is one operation that porcupine orders: a request or an expired lease.
type step struct {
	op     *Op
	expire *Expire
	// rev is the revision of an expired lease.
	rev int64
}

// order holds the known order of the revisions of a window, by the complete watch and the answers. Without it porcupine
// would try requests of unknown outcome in every order at every step.
type order struct {
	*Timeline
	// acked holds the revisions of acknowledged requests and of expired leases.
	acked map[int64]bool
	// end is the last revision of the window.
	end int64
}

// open reports whether a request of unknown outcome may lead to next: to a revision that no answer claims, with the
// events that the complete watch shows.
func (o order) open(next *State) bool {
	return !o.acked[next.Rev] && o.known(next.Rev) && o.state(next.Rev).sum == next.sum
}

func linearModel(initial *State, o order) porcupine.Model {
	return porcupine.Model{
		Init:  func() any { return initial },
		Equal: func(a, b any) bool { return a.(*State).equal(b.(*State)) },
		Hash:  func(s any) uint64 { return s.(*State).sum ^ uint64(s.(*State).Compacted) },
		Step: func(state, input, _ any) (bool, any) {
			return takeStep(state.(*State), input.(step), o)
		},
		DescribeOperation: func(input, _ any) string {
			in := input.(step)
			if in.expire != nil {
				return fmt.Sprintf("expire %q", in.expire.Keys)
			}
			return in.op.String()
		},
		DescribeState: func(state any) string {
			s := state.(*State)
			return fmt.Sprintf("revision %d compacted %d keys %d", s.Rev, s.Compacted, len(s.kvs))
		},
	}
}

func takeStep(s *State, in step, o order) (bool, *State) {
	if in.expire != nil {
		result, _ := s.Apply(in.expire)
		return s.Rev+1 == in.rev && len(result.Events) == len(in.expire.Keys), result.Next
	}
	op := in.op
	if op.Outcome == Acked {
		// This is cheaper than applying the request, and most candidates fail here.
		rev := revision(op.Response)
		if changed(op.Response) {
			rev--
		}
		if s.Rev != rev {
			return false, s
		}
	}
	result, err := s.Apply(op.Request)
	switch op.Outcome {
	case Acked:
		return err == nil && proto.Equal(result.Response, op.Response), result.Next
	case Rejected:
		return err != nil && errors.Is(modelError(op.Err), err), s
	default:
		return takeUnknown(s, result, err, o)
	}
}

// takeUnknown lets a request of unknown outcome take effect at any step. A request without effect is placed at the end
// of the window.
func takeUnknown(s *State, result Result, err error, o order) (bool, *State) {
	end := s.Rev == o.end
	switch {
	case err != nil:
		return end, s
	case result.Next.Compacted != s.Compacted:
		return true, result.Next
	case end:
		return true, s
	default:
		return result.Next != s && o.open(result.Next), result.Next
	}
}

// Linear checks that every window is linearizable. The timeline gives the state at the beginning of a window, the
// expired leases, and the events of each revision. Requests of unknown outcome that cannot have made any revision of
// the window are left out, which saves trying all of them in every order. Porcupine decides which of the others took
// effect, and when: several deletions may explain the same revision, and a compaction may rule out some of them.
func Linear(h *History, t *Timeline, timeout time.Duration, artifacts string, report *Report) {
	for i, w := range h.Windows {
		last := t.last()
		if i+1 < len(h.Windows) {
			last = h.Windows[i+1].Rev
		}
		if !t.known(w.Rev) {
			report.violate("window %d begins at revision %d, which is not in the history", i, w.Rev)
			return
		}
		history := windowHistory(h, t, w, last)
		o := order{Timeline: t, acked: map[int64]bool{}, end: last}
		for _, operation := range history {
			in := operation.Input.(step)
			if in.expire != nil {
				o.acked[in.rev] = true
			} else if in.op.Outcome == Acked && changed(in.op.Response) {
				o.acked[revision(in.op.Response)] = true
			}
		}
		model := linearModel(t.state(w.Rev).compactedAt(w.Compacted), o)
		result := porcupine.CheckOperationsTimeout(model, history, timeout)
		if result == porcupine.Ok {
			continue
		}
		where := ""
		if artifacts != "" {
			_, info := porcupine.CheckOperationsVerbose(model, history, timeout)
			where = filepath.Join(artifacts, fmt.Sprintf("window-%d.html", i))
			if err := porcupine.VisualizePath(model, info, where); err != nil {
				where = err.Error()
			}
		}
		report.violate("window %d (%v to %v, revisions %d to %d, %d requests) is not linearizable: porcupine "+
			"says %v; %s",
			i, w.From, w.To, w.Rev, last, len(history), result, where)
	}
}

// windowHistory selects the operations of a window whose last revision is last.
func windowHistory(h *History, t *Timeline, w Window, last int64) []porcupine.Operation {
	candidates := map[*Op]bool{}
	var history []porcupine.Operation
	add := func(client int, in step, call, ret time.Duration) {
		history = append(history, porcupine.Operation{
			ClientId: client, Input: in, Call: int64(call), Return: int64(ret),
		})
	}
	clients := 0
	for _, op := range h.Ops {
		clients = max(clients, op.Client+1)
	}
	for i, owner := range t.owners {
		rev := t.first() + 1 + int64(i)
		if rev <= w.Rev || rev > last {
			continue
		}
		if owner.Expire != nil {
			add(clients, step{expire: owner.Expire, rev: rev}, w.From, forever)
		}
		for _, op := range owner.Candidates {
			candidates[op] = true
		}
	}
	for _, op := range h.Ops {
		inside := op.Call >= w.From && op.Call < w.To
		switch {
		case op.serializable() || op.Outcome == Rejected && modelError(op.Err) == nil:
		case op.Outcome != Unknown && inside:
			add(op.Client, step{op: op}, op.Call, op.Return)
		case op.Outcome != Unknown || op.readOnly() || op.Call >= w.To:
		case openCompaction(op, w) || candidates[op]:
			add(op.Client, step{op: op}, max(op.Call, w.From), forever)
		}
	}
	return history
}

// openCompaction reports whether a compaction of unknown outcome may still take effect in w.
func openCompaction(op *Op, w Window) bool {
	c, ok := op.Request.(*pb.CompactionRequest)
	return ok && c.Revision > w.Compacted
}
