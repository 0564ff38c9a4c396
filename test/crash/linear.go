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

// Window is a part of the run between two moments in which no request was under way: the checker's time grows with
// the square of the history's length.
type Window struct {
	// From and To bound the calls of the window's requests.
	From, To time.Duration
	// Rev and Compacted are the current and the compact revision at From, as a client read them.
	Rev, Compacted int64
}

// step is what porcupine orders: a request or an expired lease.
type step struct {
	op     *Op
	expire *Expire
	// rev is the revision that an expired lease made.
	rev int64
}

// acknowledged are the revisions that answers in a window give to their requests, and the last revision of the window.
// Without them a few requests of unknown outcome would be tried in every order at every step.
type acknowledged struct {
	revs map[int64]bool
	last int64
}

func linearModel(initial *State, acked acknowledged) porcupine.Model {
	return porcupine.Model{
		Init:  func() any { return initial },
		Equal: func(a, b any) bool { return a.(*State).equal(b.(*State)) },
		Hash:  func(s any) uint64 { return s.(*State).sum ^ uint64(s.(*State).Compacted) },
		Step: func(state, input, _ any) (bool, any) {
			return takeStep(state.(*State), input.(step), acked)
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

func takeStep(s *State, in step, acked acknowledged) (bool, *State) {
	if in.expire != nil {
		result, _ := s.Apply(in.expire)
		return s.Rev+1 == in.rev && len(result.Events) == len(in.expire.Keys), result.Next
	}
	op := in.op
	if op.Outcome == Acked {
		// Cheaper than to apply it: most candidates fail here.
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
		return takeUnknown(s, result, err, acked)
	}
}

// takeUnknown lets a request take effect wherever it has one. That it never does is the same as that it does after
// everything else.
func takeUnknown(s *State, result Result, err error, acked acknowledged) (bool, *State) {
	end := s.Rev == acked.last
	switch {
	case err != nil:
		return end, s
	case result.Next.Compacted != s.Compacted:
		return true, result.Next
	case end:
		return true, s
	default:
		return result.Next != s && !acked.revs[result.Next.Rev], result.Next
	}
}

// Linear checks every window. The timeline gives the state at the beginning of a window and the expired leases. It also
// tells which requests of unknown outcome took effect: those that it does not show are left out, which makes the check
// harder to pass and never easier, and saves trying all of them in every order. When they took effect is for porcupine
// to find.
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
		acked := acknowledged{revs: map[int64]bool{}, last: last}
		for _, o := range history {
			in := o.Input.(step)
			if in.expire != nil {
				acked.revs[in.rev] = true
			} else if in.op.Outcome == Acked && changed(in.op.Response) {
				acked.revs[revision(in.op.Response)] = true
			}
		}
		model := linearModel(t.state(w.Rev).compactedAt(w.Compacted), acked)
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
		report.violate("window %d (%v to %v, revisions %d to %d, %d requests) is not linearizable: porcupine says %v; %s",
			i, w.From, w.To, w.Rev, last, len(history), result, where)
	}
}

// windowHistory selects what porcupine has to order in a window whose last revision is last.
func windowHistory(h *History, t *Timeline, w Window, last int64) []porcupine.Operation {
	made := map[*Op]int64{}
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
		if owner.Op != nil {
			made[owner.Op] = rev
		}
		if owner.Expire != nil && rev > w.Rev && rev <= last {
			add(clients, step{expire: owner.Expire, rev: rev}, w.From, forever)
		}
	}
	for _, op := range h.Ops {
		inside := op.Call >= w.From && op.Call < w.To
		switch {
		case op.serializable() || op.Outcome == Rejected && modelError(op.Err) == nil:
		case op.Outcome != Unknown && inside:
			add(op.Client, step{op: op}, op.Call, op.Return)
		case op.Outcome != Unknown || op.readOnly() || op.Call >= w.To:
		case openCompaction(op, w) || made[op] > w.Rev && made[op] <= last:
			add(op.Client, step{op: op}, max(op.Call, w.From), forever)
		}
	}
	return history
}

// openCompaction tells whether a compaction of unknown outcome may still take effect in w.
func openCompaction(op *Op, w Window) bool {
	c, ok := op.Request.(*pb.CompactionRequest)
	return ok && c.Revision > w.Compacted
}
