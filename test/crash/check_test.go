package crash

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

const steps = 6000

// TestJudgeCleanHistories checks that the checkers accept the histories of a correct server.
func TestJudgeCleanHistories(t *testing.T) {
	for seed := range uint64(10) {
		rec, _ := fabricate(seed, steps, nil)
		report := Check(rec, "")
		for _, v := range report.Violations {
			t.Errorf("seed %d: %s", seed, v)
		}
		if report.UnknownApplied == 0 || report.Unknown == report.UnknownApplied || report.AckedWrites < 200 ||
			report.Reads < 200 {
			t.Errorf("seed %d: the history has too few outcomes: %v", seed, report)
		}
	}
}

// halfway reports whether a fault may happen: the store has content, and there was no fault yet.
func halfway(s *server) bool { return !s.fired && s.state.Rev > 300 }

// isReadingTxn reports whether op is a transaction that writes nothing and reads at a revision.
func isReadingTxn(op *Op) bool {
	r, ok := op.Request.(*pb.TxnRequest)
	return ok && !writes(r) && len(op.revisions()) > 0
}

// ago returns the state at the given number of revisions before the current one.
func (s *server) ago(revisions int) *State {
	past := s.state
	for range revisions {
		if past.prev != nil {
			past = past.prev
		}
	}
	return past.compactedAt(s.state.Compacted)
}

func isPut(op *Op) bool {
	_, ok := op.Request.(*pb.PutRequest)
	return ok
}

// brokenServers are faults of a server that the judge must find.
var brokenServers = []struct {
	name string
	// fault answers a request instead of the server, or returns false.
	fault func(s *server, op *Op) bool
	// linear is true if porcupine must find the fault too.
	linear bool
}{
	{
		name: "an acknowledged write is lost in a crash",
		fault: func(s *server, op *Op) bool {
			if halfway(s) && len(s.ops) > 0 {
				last := s.ops[len(s.ops)-1]
				if last.Outcome == Acked && changed(last.Response) && revision(last.Response) == s.state.Rev {
					s.fired = true
					s.state = s.state.prev.compactedAt(s.state.Compacted)
					s.full = s.full[:len(s.full)-1]
				}
			}
			return false
		},
		linear: true,
	},
	{
		name: "a put is acknowledged and not applied",
		fault: func(s *server, op *Op) bool {
			if !halfway(s) || !isPut(op) {
				return false
			}
			s.fired = true
			result, _ := s.state.Apply(op.Request)
			op.Response = proto.Clone(result.Response)
			return true
		},
		linear: true,
	},
	{
		name: "a put is applied twice",
		fault: func(s *server, op *Op) bool {
			if !halfway(s) || !isPut(op) {
				return false
			}
			s.fired = true
			s.answer(op, s.state)
			again, _ := s.state.Apply(op.Request)
			s.commit(again)
			return true
		},
		linear: true,
	},
	{
		name: "a put is applied again much later",
		fault: func(s *server, op *Op) bool {
			if !halfway(s) {
				return false
			}
			for _, old := range s.ops {
				if isPut(old) && old.Outcome == Acked {
					s.fired = true
					again, _ := s.state.Apply(old.Request)
					s.commit(again)
					return false
				}
			}
			return false
		},
		linear: true,
	},
	{
		name: "a refused request is applied",
		fault: func(s *server, op *Op) bool {
			if !halfway(s) || !isPut(op) {
				return false
			}
			s.fired = true
			s.answer(op, s.state)
			op.Outcome, op.Response = Rejected, nil
			op.Err = status.Error(codes.OutOfRange, "etcdserver: mvcc: required revision is a future revision")
			return true
		},
		linear: true,
	},
	{
		name: "a valid request is refused",
		fault: func(s *server, op *Op) bool {
			if !halfway(s) || !isPut(op) {
				return false
			}
			s.fired = true
			op.Outcome, op.Err = Rejected, status.Error(codes.InvalidArgument, "etcdserver: key is not provided")
			return true
		},
	},
	{
		name: "a read returns an old state",
		fault: func(s *server, op *Op) bool {
			r, ok := op.Request.(*pb.RangeRequest)
			if !halfway(s) || !ok || r.Serializable || r.Revision > 0 {
				return false
			}
			past := s.state
			for range 20 {
				past = past.prev
			}
			s.fired = true
			result, _ := past.Apply(op.Request)
			op.Response = proto.Clone(result.Response)
			return true
		},
		linear: true,
	},
	{
		name: "a read returns an old state with the current revision",
		fault: func(s *server, op *Op) bool {
			r, ok := op.Request.(*pb.RangeRequest)
			if !halfway(s) || !ok || r.Serializable || r.Revision > 0 || r.CountOnly {
				return false
			}
			past := s.state
			for range 20 {
				past = past.prev
			}
			then, _ := past.Apply(op.Request)
			now, _ := s.state.Apply(op.Request)
			response := proto.Clone(then.Response).(*pb.RangeResponse)
			response.Header.Revision = s.state.Rev
			if proto.Equal(response, now.Response) {
				return false
			}
			s.fired = true
			op.Response = response
			return true
		},
		linear: true,
	},
	{
		name: "a transaction takes the wrong branch",
		fault: func(s *server, op *Op) bool {
			r, ok := op.Request.(*pb.TxnRequest)
			if !halfway(s) || !ok || len(r.Compare) == 0 || len(r.Failure) == 0 || !writes(r) {
				return false
			}
			wrong := proto.Clone(r).(*pb.TxnRequest)
			wrong.Compare = nil
			if s.state.holds(r.Compare) {
				return false
			}
			result, _ := s.state.Apply(wrong)
			s.fired = true
			op.Response = proto.Clone(result.Response)
			if result.Next != s.state {
				s.commit(result)
			}
			return true
		},
		linear: true,
	},
	{
		name: "the event of a write lacks prev_kv",
		fault: func(s *server, op *Op) bool {
			if !halfway(s) || !isPut(op) {
				return false
			}
			result, _ := s.state.Apply(op.Request)
			if result.Response.(*pb.PutResponse).PrevKv == nil {
				return false
			}
			s.fired = true
			s.answer(op, s.state)
			op.Response.(*pb.PutResponse).PrevKv = nil
			return true
		},
		linear: true,
	},
	{
		name: "a transaction is applied in part",
		fault: func(s *server, op *Op) bool {
			if _, ok := op.Request.(*pb.TxnRequest); !ok || !halfway(s) {
				return false
			}
			whole, _ := s.state.Apply(op.Request)
			if len(whole.Events) < 2 {
				return false
			}
			key := whole.Events[0].Kv.Key
			part := &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{
				RequestPut: &pb.PutRequest{Key: key, Value: whole.Events[0].Kv.Value},
			}}}}
			result, _ := s.state.Apply(part)
			s.fired = true
			op.Response = proto.Clone(whole.Response)
			s.commit(result)
			return true
		},
	},
	{
		name: "a compacted revision is read",
		fault: func(s *server, op *Op) bool {
			r, ok := op.Request.(*pb.RangeRequest)
			if s.fired || !ok || r.Serializable || r.Revision == 0 || r.Revision >= s.state.Compacted {
				return false
			}
			s.fired = true
			result, _ := s.state.compactedAt(0).Apply(op.Request)
			op.Response = proto.Clone(result.Response)
			return true
		},
		linear: true,
	},
	{
		name: "a read is refused as compacted without a compaction",
		fault: func(s *server, op *Op) bool {
			r, ok := op.Request.(*pb.RangeRequest)
			if !halfway(s) || !ok || r.Serializable || r.Revision < s.state.Compacted+100 {
				return false
			}
			s.fired = true
			op.Outcome = Rejected
			op.Err = status.Error(codes.OutOfRange, "etcdserver: mvcc: required revision has been compacted")
			return true
		},
		linear: true,
	},
	{
		name: "a read at a revision has an outdated header",
		fault: func(s *server, op *Op) bool {
			r, ok := op.Request.(*pb.RangeRequest)
			past := s.ago(20)
			if !halfway(s) || !ok || r.Serializable || r.Revision == 0 || past.readable(r.Revision) != nil {
				return false
			}
			s.fired = true
			result, _ := past.Apply(op.Request)
			op.Response = proto.Clone(result.Response)
			return true
		},
		linear: true,
	},
	{
		name: "a transaction with a read at a revision has an outdated header",
		fault: func(s *server, op *Op) bool {
			past := s.ago(20)
			if !halfway(s) || !isReadingTxn(op) || past.checkTxn(op.Request.(*pb.TxnRequest)) != nil {
				return false
			}
			s.fired = true
			result, _ := past.Apply(op.Request)
			op.Response = proto.Clone(result.Response)
			return true
		},
		linear: true,
	},
	{
		name: "a read at a revision returns another one",
		fault: func(s *server, op *Op) bool {
			r, ok := op.Request.(*pb.RangeRequest)
			if !halfway(s) || !ok || r.Serializable || r.Revision == 0 || s.state.readable(r.Revision) != nil ||
				r.Revision < 30 {
				return false
			}
			other := proto.Clone(r).(*pb.RangeRequest)
			other.Revision -= 20
			right, _ := s.state.Apply(r)
			wrong, err := s.state.compactedAt(0).Apply(other)
			if err != nil || proto.Equal(right.Response, wrong.Response) {
				return false
			}
			s.fired = true
			op.Response = proto.Clone(wrong.Response)
			return true
		},
		linear: true,
	},
	{
		name: "a transaction reads a compacted revision",
		fault: func(s *server, op *Op) bool {
			r, ok := op.Request.(*pb.TxnRequest)
			if s.fired || !ok || !errors.Is(s.state.checkTxn(r), errCompacted) ||
				s.state.compactedAt(0).checkTxn(r) != nil {
				return false
			}
			s.fired = true
			result, _ := s.state.compactedAt(0).Apply(op.Request)
			op.Response = proto.Clone(result.Response)
			if result.Next.Rev != s.state.Rev {
				result.Next = result.Next.compactedAt(s.state.Compacted)
				s.commit(result)
			}
			return true
		},
		linear: true,
	},
	{
		name: "a known revision is refused as a future one",
		fault: func(s *server, op *Op) bool {
			r, ok := op.Request.(*pb.RangeRequest)
			if !halfway(s) || !ok || r.Serializable || r.Revision == 0 || r.Revision > s.ago(20).Rev {
				return false
			}
			s.fired = true
			op.Outcome = Rejected
			op.Err = status.Error(codes.OutOfRange, "etcdserver: mvcc: required revision is a future revision")
			return true
		},
		linear: true,
	},
	{
		name: "a revision is skipped",
		fault: func(s *server, op *Op) bool {
			if !halfway(s) {
				return false
			}
			s.fired = true
			next := *s.state
			next.Rev++
			next.prev = s.state
			s.state = &next
			return false
		},
	},
}

// TestJudgeBrokenServers checks that replay and porcupine, each by itself, find the faults of a wrong server.
func TestJudgeBrokenServers(t *testing.T) {
	for _, test := range brokenServers {
		t.Run(test.name, func(t *testing.T) {
			rec, s := fabricate(1, steps, test.fault)
			if !s.fired {
				t.Fatal("the fault did not happen")
			}
			report := Check(rec, "")
			t.Logf("%d violations, first: %.300s", len(report.Violations),
				slices.Concat(report.Violations, []string{"none"})[0])
			if len(report.Violations) == 0 {
				t.Error("the fault was not found")
			}
			if !test.linear {
				return
			}
			quiet, alone := &Report{}, &Report{}
			timeline := Replay(&rec.History, quiet)
			Linear(&rec.History, timeline, linearTimeout, "", alone)
			if len(alone.Violations) == 0 {
				t.Error("porcupine did not find the fault")
			}
		})
	}
}

// TestJudgeBrokenWatches checks that every broken guarantee of a watch is found under its name.
func TestJudgeBrokenWatches(t *testing.T) {
	// events returns the indexes of responses with events of watcher 0.
	events := func(s *Session) []int {
		var at []int
		for i, r := range s.Responses {
			if len(r.Response.Events) > 0 && r.Response.WatchId == 0 {
				at = append(at, i)
			}
		}
		return at
	}
	// followed returns the index of a response with events that is followed by another one, or -1.
	followed := func(s *Session) int {
		at := events(s)
		for n, i := range at[:len(at)-1] {
			if at[n+1] == i+1 {
				return i
			}
		}
		return -1
	}
	several := func(s *Session) int {
		for i, r := range s.Responses {
			if len(r.Response.Events) > 1 && r.Response.WatchId == 0 {
				return i
			}
		}
		return -1
	}
	for _, test := range []struct {
		name  string
		fault WatchFault
		spoil func(s *Session)
	}{
		{"skipped", FaultReliable, func(s *Session) {
			i := followed(s)
			s.Responses = slices.Delete(s.Responses, i, i+1)
		}},
		{"skipped within a revision", FaultReliable, func(s *Session) {
			r := s.Responses[several(s)].Response
			r.Events = r.Events[1:]
		}},
		{"cut off within a revision", FaultAtomic, func(s *Session) {
			r := s.Responses[several(s)].Response
			r.Events = r.Events[:1]
		}},
		{"duplicated", FaultUnique, func(s *Session) {
			i := events(s)[2]
			s.Responses = slices.Insert(s.Responses, i+1, s.Responses[i])
		}},
		{"before the start", FaultOrdered, func(s *Session) { s.Starts[0] += 5 }},
		{"reordered revisions", FaultReliable, func(s *Session) {
			at := events(s)
			s.Responses[at[1]], s.Responses[at[2]] = s.Responses[at[2]], s.Responses[at[1]]
		}},
		{"reordered within a revision", FaultReliable, func(s *Session) {
			slices.Reverse(s.Responses[several(s)].Response.Events)
		}},
		{"split revision", FaultAtomic, func(s *Session) {
			i := several(s)
			r := s.Responses[i]
			second := proto.Clone(r.Response).(*pb.WatchResponse)
			second.Events = second.Events[1:]
			r.Response.Events = r.Response.Events[:1]
			s.Responses = slices.Insert(s.Responses, i+1, Received{At: r.At, Response: second})
		}},
		{"early progress", FaultBookmark, func(s *Session) {
			i := events(s)[2]
			progress := &pb.WatchResponse{Header: header(s.Responses[i].Response.Events[0].Kv.ModRevision), WatchId: -1}
			s.Responses = slices.Insert(s.Responses, i, Received{At: s.Responses[i].At, Response: progress})
		}},
		{"progress going back", FaultBookmark, func(s *Session) {
			i := events(s)[2]
			rev := s.Responses[i].Response.Header.Revision
			for _, back := range []int64{0, 1} {
				progress := &pb.WatchResponse{Header: header(rev - back), WatchId: 0}
				s.Responses = slices.Insert(s.Responses, i+1+int(back), Received{
					At: s.Responses[i].At, Response: progress,
				})
			}
		}},
		{"wrong value", FaultContent, func(s *Session) {
			s.Responses[events(s)[2]].Response.Events[0].Kv.Value = []byte("other")
		}},
		{"wrong create revision", FaultContent, func(s *Session) {
			s.Responses[events(s)[2]].Response.Events[0].Kv.CreateRevision++
		}},
		{"wrong version", FaultContent, func(s *Session) {
			s.Responses[events(s)[2]].Response.Events[0].Kv.Version++
		}},
		{"wrong type", FaultContent, func(s *Session) {
			e := s.Responses[events(s)[2]].Response.Events[0]
			e.Type = mvccpb.Event_EventType(1 - int32(e.Type))
		}},
		{"invented prev_kv", FaultContent, func(s *Session) {
			s.Responses[events(s)[2]].Response.Events[0].PrevKv = &mvccpb.KeyValue{Key: []byte("k"), Value: []byte("v")}
		}},
		{"header behind the event", FaultContent, func(s *Session) {
			s.Responses[events(s)[2]].Response.Header.Revision = 1
		}},
		{"invented event", FaultUnexpected, func(s *Session) {
			s.Responses[events(s)[2]].Response.Events[0].Kv.Key = []byte("a/never")
		}},
		{"created in the past", FaultStale, func(s *Session) {
			s.Opened = forever
			s.Responses[0].Response.Header.Revision = 1
		}},
		{"canceled without a reason", FaultUnexpected, func(s *Session) {
			i := events(s)[2]
			s.Responses = slices.Insert(s.Responses, i, Received{
				Response: &pb.WatchResponse{Header: header(1), Canceled: true},
			})
		}},
		{"compacted for no reason", FaultUnexpected, func(s *Session) {
			i := events(s)[2]
			s.Responses = slices.Insert(s.Responses, i, Received{Response: &pb.WatchResponse{
				Header: header(1), Canceled: true, CompactRevision: 3,
			}})
		}},
	} {
		for _, stream := range []string{"everything", "fragments", "notified"} {
			t.Run(test.name+"/"+stream, func(t *testing.T) {
				rec, _ := fabricate(2, 2000, nil)
				at := slices.IndexFunc(rec.Streams, func(s *StreamRecord) bool { return s.Name == stream })
				session := slices.IndexFunc(rec.Streams[at].Sessions, func(s Session) bool {
					return len(events(&s)) > 5 && several(&s) >= 0 && followed(&s) >= 0
				})
				test.spoil(&rec.Streams[at].Sessions[session])
				report := &Report{}
				Watches(&rec.History, report)
				if report.WatchViolations == 0 {
					t.Fatal("not found")
				}
				if !strings.Contains(report.Violations[0], string(test.fault)+":") {
					t.Errorf("found, but not as %s: %s", test.fault, report.Violations[0])
				}
			})
		}
	}
}

// TestJudgeWatchBelowCompactRevision checks that a watcher gets no events of revisions that were compacted before it
// was created.
func TestJudgeWatchBelowCompactRevision(t *testing.T) {
	rec, _ := fabricate(2, 2000, nil)
	opened := rec.Streams[0].Sessions[1].Opened
	for _, after := range []bool{true, false} {
		compaction := &Op{Request: &pb.CompactionRequest{Revision: 1 << 40},
			Response: &pb.CompactionResponse{Header: header(1)}, Return: opened}
		if after {
			compaction.Return = forever
		} else {
			compaction.Return--
		}
		judged := rec.History
		judged.Ops = append(slices.Clone(rec.Ops), compaction)
		report := &Report{}
		Watches(&judged, report)
		found := slices.ContainsFunc(report.Violations, func(v string) bool {
			return strings.Contains(v, string(FaultStale)+": events")
		})
		if found == after {
			t.Errorf("compacted after the creation of every watcher: %v, found: %v", after, found)
		}
	}
}

// TestJudgeAmbiguousDeletion accepts a revision that two deletions of unknown outcome explain, of which a compaction
// rules out the older one.
func TestJudgeAmbiguousDeletion(t *testing.T) {
	s := &server{state: newState(), first: 1}
	do := func(request proto.Message, outcome Outcome, applied bool) {
		s.clock += time.Millisecond
		op := &Op{Request: request, Call: s.clock, Outcome: outcome}
		if applied {
			s.answer(op, s.state)
		}
		if outcome == Unknown {
			op.Outcome, op.Response, op.Err = Unknown, nil, status.Error(codes.Unavailable, "gone")
		}
		s.clock += time.Millisecond
		s.end(op)
	}
	key := []byte("a/0")
	put := func(value string) *pb.PutRequest { return &pb.PutRequest{Key: key, Value: []byte(value)} }
	deletion := &pb.DeleteRangeRequest{Key: key}
	do(put("1"), Acked, true)
	do(put("2"), Acked, true)
	do(&pb.TxnRequest{Success: []*pb.RequestOp{
		{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: deletion}},
		{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: key, Revision: 2}}},
	}}, Unknown, false)
	do(&pb.CompactionRequest{Revision: 3}, Acked, true)
	do(deletion, Unknown, true)
	do(&pb.RangeRequest{Key: key}, Acked, true)
	rec := &Recorded{History: History{Ops: s.ops, Full: s.full, Windows: []Window{{To: forever, Rev: 1}}}}
	report := Check(rec, "")
	for _, v := range report.Violations {
		t.Error(v)
	}
	if report.Unknown != 2 || report.UnknownApplied != 1 {
		t.Errorf("the history is not the intended one: %v", report)
	}
}
