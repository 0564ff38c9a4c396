package crash

import (
	"errors"
	"math/rand/v2"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// server simulates a server: concurrent clients call the model. The checkers must accept its histories, and must reject
// those with an injected fault.
type server struct {
	rand  *rand.Rand
	clock time.Duration
	state *State
	// first is the revision of the first state.
	first int64
	full  []Revision
	ops   []*Op
	// before is called before a request is applied; true means that the fault has answered it.
	before func(s *server, op *Op) bool
	// fired is true once the fault has happened; faulty is the request that it answered.
	fired  bool
	faulty *Op
}

// pending is a request without an answer so far.
type pending struct {
	op      *Op
	applied bool
}

// fabricate lets clients make the given number of calls and returns the history.
func fabricate(seed uint64, steps int, before func(*server, *Op) bool) (*Recorded, *server) {
	return fabricateFrom(seed, steps, before, newState(), 0)
}

// fabricateFrom is fabricate from a given state and time.
func fabricateFrom(seed uint64, steps int, before func(*server, *Op) bool, base *State,
	at time.Duration) (*Recorded, *server) {
	s := &server{rand: rand.New(rand.NewPCG(seed, 7)), state: base, first: base.Rev, clock: at, before: before}
	const clients = 6
	generators := make([]*generator, clients)
	for i := range generators {
		generators[i] = newGenerator(i, seed)
	}
	running := make([]*pending, clients)
	for range steps {
		s.clock += time.Microsecond
		i := s.rand.IntN(clients)
		p := running[i]
		switch {
		case p == nil:
			request := generators[i].next(s.state.Compacted, s.state.Rev)
			if txn, ok := request.(*pb.TxnRequest); ok && len(txn.Success) == len(bigKeys) && len(values(txn)) > 0 &&
				len(values(txn)[0]) > bigValue {
				continue
			}
			running[i] = &pending{op: &Op{Client: i, Request: request, Call: s.clock}}
		case s.rand.IntN(60) == 0 && p.op != s.faulty:
			// The connection breaks before or after the request was applied.
			p.op.Outcome, p.op.Response = Unknown, nil
			p.op.Err = status.Error(codes.Unavailable, "connection closed")
			s.end(p.op)
			running[i] = nil
		case !p.applied:
			s.apply(p.op)
			p.applied = true
		default:
			s.end(p.op)
			if p.op.Outcome == Acked {
				generators[i].learn(p.op.Response)
			}
			running[i] = nil
		}
	}
	for _, p := range running {
		if p != nil && p.applied {
			s.clock += time.Microsecond
			s.end(p.op)
		}
	}
	rec := &Recorded{History: History{Ops: s.ops, Full: s.full, Windows: []Window{{To: forever, Rev: 1}}}}
	for _, w := range watchers() {
		rec.Streams = append(rec.Streams, s.watch(w.record))
	}
	return rec, s
}

func (s *server) end(op *Op) {
	op.Return = s.clock
	s.ops = append(s.ops, op)
}

func (s *server) apply(op *Op) {
	if s.before != nil && s.before(s, op) {
		s.faulty = op
		return
	}
	s.answer(op, s.state)
}

// answer applies op to state, which becomes the server's unless nothing changed.
func (s *server) answer(op *Op, state *State) {
	result, err := state.Apply(op.Request)
	switch {
	case errors.Is(err, errCompacted):
		op.Outcome = Rejected
		op.Err = status.Error(codes.OutOfRange, "etcdserver: mvcc: required revision has been compacted")
		return
	case errors.Is(err, errFuture):
		op.Outcome = Rejected
		op.Err = status.Error(codes.OutOfRange, "etcdserver: mvcc: required revision is a future revision")
		return
	}
	op.Response = proto.Clone(result.Response)
	if result.Next != state {
		s.commit(result)
	}
}

func (s *server) commit(result Result) {
	s.state = result.Next
	if len(result.Events) > 0 {
		r := Revision{Rev: result.Next.Rev, Seen: s.clock}
		for _, e := range result.Events {
			r.Events = append(r.Events, proto.Clone(e).(*mvccpb.Event))
		}
		s.full = append(s.full, r)
	}
}

// watch returns the responses of a stream that breaks now and then. It is generated after all requests, and prev_kv is
// absent wherever it was compacted by then, as if the event had been sent just in time. A watcher that needs a
// compacted revision resumes at the compact revision.
func (s *server) watch(record *StreamRecord) *StreamRecord {
	next := make([]int64, len(record.Watchers))
	for i, spec := range record.Watchers {
		next[i] = max(s.first, spec.StartRevision)
	}
	at := func(r Revision) time.Duration { return r.Seen }
	compacted := ackedCompactions(&History{Ops: s.ops})
	var session *Session
	open := func(now int64, at time.Duration) {
		for i := range next {
			next[i] = max(next[i], compacted.before(at))
		}
		record.Sessions = append(record.Sessions, Session{Starts: append([]int64(nil), next...), Opened: at})
		session = &record.Sessions[len(record.Sessions)-1]
		for i := range record.Watchers {
			session.Responses = append(session.Responses, Received{Response: &pb.WatchResponse{
				Header: header(now), WatchId: int64(i), Created: true,
			}})
		}
	}
	open(s.first, 0)
	for _, r := range s.full {
		for i, spec := range record.Watchers {
			var events []*mvccpb.Event
			c := &watchCheck{spec: spec}
			for _, e := range r.Events {
				if inRange(e.Kv.Key, spec.Key, spec.RangeEnd) && !c.filtered(e) {
					seen := proto.Clone(e).(*mvccpb.Event)
					if !spec.PrevKv {
						seen.PrevKv = nil
					}
					events = append(events, seen)
				}
			}
			if len(events) > 0 {
				session.Responses = append(session.Responses, Received{At: at(r), Response: &pb.WatchResponse{
					Header: header(r.Rev), WatchId: int64(i), Events: events,
				}})
				next[i] = r.Rev + 1
			}
		}
		switch s.rand.IntN(20) {
		case 0:
			session.Responses = append(session.Responses, Received{At: at(r), Response: &pb.WatchResponse{
				Header: header(r.Rev), WatchId: -1,
			}})
			for i := range next {
				next[i] = r.Rev + 1
			}
		case 1:
			open(r.Rev, at(r))
		}
	}
	return record
}
