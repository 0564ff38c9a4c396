package crash

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

// jumpTo is the revision at which the second of two fabricated histories begins.
const jumpTo = 1_001_000

// recovered fabricates a run over two histories. The second begins with some of the keys of the first.
func recovered(seed uint64) *Recorded {
	older, s := fabricate(seed, 2000, nil)
	jump := &Recovery{At: s.clock + time.Microsecond, Revision: jumpTo, Kvs: s.state.at(s.state.Rev / 2).kvs}
	newer, _ := fabricateFrom(seed+1000, 2000, nil, &State{Rev: jumpTo, Compacted: jumpTo, kvs: jump.Kvs}, jump.At)
	rec := &Recorded{servers: 1, onTime: true, stopped: forever}
	rec.Recovery = jump
	rec.Windows = []Window{{To: forever, Rev: 1}}
	for _, op := range older.Ops {
		op.Term = 1
	}
	for _, op := range newer.Ops {
		op.Term = 2
	}
	rec.Ops = slices.Concat(older.Ops, newer.Ops)
	for i, stream := range older.Streams {
		// The recovery cancels the last of the old sessions.
		last := &stream.Sessions[len(stream.Sessions)-1]
		last.Responses = append(last.Responses, Received{At: jump.At + 1, Response: &pb.WatchResponse{
			Header: header(jumpTo), Canceled: true, CompactRevision: jumpTo,
		}})
		both := &StreamRecord{Name: stream.Name, Watchers: stream.Watchers}
		both.Sessions = slices.Concat(stream.Sessions, newer.Streams[i].Sessions)
		rec.Streams = append(rec.Streams, both)
	}
	return rec
}

func judgeBoth(rec *Recorded) []string {
	before, after := rec.Split()
	return slices.Concat(Check(before, "").Violations, Check(after, "").Violations)
}

func TestJudgeCleanRecovery(t *testing.T) {
	for seed := range uint64(5) {
		rec := recovered(seed)
		before, after := rec.Split()
		if len(before.Full) < 200 || len(after.Full) < 200 || after.Full[0].Rev != jumpTo+1 {
			t.Fatalf("%d and %d revisions", len(before.Full), len(after.Full))
		}
		if low, high := before.Terms(0, forever); low != 1 || high != 1 {
			t.Errorf("terms %d to %d before", low, high)
		}
		if low, high := after.Terms(0, forever); low != 2 || high != 2 {
			t.Errorf("terms %d to %d after", low, high)
		}
		for _, v := range judgeBoth(rec) {
			t.Errorf("seed %d: %s", seed, v)
		}
	}
}

// TestJudgeBrokenRecoveries checks that the checkers find wrong behaviour of a server after a recovery.
func TestJudgeBrokenRecoveries(t *testing.T) {
	// acked returns a write of the new or the old history.
	acked := func(rec *Recorded, newer bool) *Op {
		var found *Op
		for _, op := range rec.Ops {
			if op.Outcome == Acked && changed(op.Response) && (revision(op.Response) > jumpTo) == newer {
				found = op
			}
		}
		return found
	}
	everything := func(rec *Recorded) *StreamRecord { return rec.Streams[1] }
	canceled := func(s *StreamRecord) (*Session, int) {
		for i := range s.Sessions {
			for n, r := range s.Sessions[i].Responses {
				if r.Response.Canceled {
					return &s.Sessions[i], n
				}
			}
		}
		return nil, 0
	}
	for _, test := range []struct {
		name, want string
		spoil      func(rec *Recorded)
	}{
		{"a write is answered from the lost history", "answered from the lost history", func(rec *Recorded) {
			op := acked(rec, false)
			op.Call, op.Return = rec.Recovery.At+1, rec.Recovery.At+2
		}},
		{"a write to the new history is lost", "is not in the history", func(rec *Recorded) {
			op := acked(rec, true)
			op.Response.(interface{ GetHeader() *pb.ResponseHeader }).GetHeader().Revision = jumpTo + 1_000_000
		}},
		{"the new history begins with other keys", "", func(rec *Recorded) {
			kvs := slices.Clone(rec.Recovery.Kvs)
			other := proto.Clone(kvs[0]).(*mvccpb.KeyValue)
			other.Version += 7
			kvs[0] = other
			rec.Recovery.Kvs = kvs
		}},
		{"a revision of the lost history is answered by the new one", "before the history", func(rec *Recorded) {
			rec.Ops = append(rec.Ops, &Op{
				Call: rec.Recovery.At + 1, Return: rec.Recovery.At + 2,
				Request:  &pb.RangeRequest{Key: []byte("none"), Revision: jumpTo - 5},
				Response: &pb.RangeResponse{Header: header(jumpTo)},
			})
		}},
		{"a watch continues", "continued into the new history", func(rec *Recorded) {
			s, n := canceled(everything(rec))
			s.Responses[n].Response = &pb.WatchResponse{Header: header(jumpTo)}
		}},
		{"a watch is canceled at an unknown revision", string(FaultUnexpected), func(rec *Recorded) {
			s, n := canceled(everything(rec))
			s.Responses[n].Response.CompactRevision += 5
		}},
		{"a watch is canceled before the restore", string(FaultUnexpected), func(rec *Recorded) {
			s, n := canceled(everything(rec))
			s.Responses[n].At = rec.Recovery.At - 1
		}},
		{"an event of the new history is missing", string(FaultReliable), func(rec *Recorded) {
			s := everything(rec)
			session := &s.Sessions[len(s.Sessions)-1]
			for len(session.Responses) < 10 {
				s.Sessions = s.Sessions[:len(s.Sessions)-1]
				session = &s.Sessions[len(s.Sessions)-1]
			}
			for i, r := range session.Responses {
				if len(r.Response.Events) > 0 && i+1 < len(session.Responses) &&
					len(session.Responses[i+1].Response.Events) > 0 {
					session.Responses = slices.Delete(session.Responses, i, i+1)
					return
				}
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			rec := recovered(1)
			test.spoil(rec)
			violations := judgeBoth(rec)
			if !slices.ContainsFunc(violations, func(v string) bool { return strings.Contains(v, test.want) }) {
				t.Errorf("not found as %q: %.600q", test.want, violations)
			}
		})
	}
}

func TestUnavailable(t *testing.T) {
	put := func(server int, at time.Duration) *Op {
		return &Op{Server: server, Return: at, Response: &pb.PutResponse{Header: header(2)}}
	}
	rec := &Recorded{servers: 2, stopped: 10 * time.Second}
	for n := range 10 {
		at := time.Duration(n) * time.Second
		rec.Ops = append(rec.Ops, put(0, at))
		if n < 3 || n > 7 {
			rec.Ops = append(rec.Ops, put(1, at))
		}
	}
	rand.Shuffle(len(rec.Ops), func(i, j int) { rec.Ops[i], rec.Ops[j] = rec.Ops[j], rec.Ops[i] })
	for _, test := range []struct {
		name            string
		impaired, holds []interval
		want            time.Duration
	}{
		{"no impairment", nil, nil, 6 * time.Second},
		{"the other server impaired", []interval{{0, 3 * time.Second, 7 * time.Second}}, nil, 6 * time.Second},
		{"impaired", []interval{{1, 3 * time.Second, 4 * time.Second}}, nil, time.Second},
		{"held", nil, []interval{{0, 4 * time.Second, 6500 * time.Millisecond}}, 3500 * time.Millisecond},
	} {
		rec.impaired, rec.holds = test.impaired, test.holds
		if got := rec.Unavailable(); got != test.want {
			t.Errorf("%s: unavailable for %v, want %v", test.name, got, test.want)
		}
	}
}

// TestOverdueLease checks that late and early expiries are found, whichever stream sees them first.
func TestOverdueLease(t *testing.T) {
	gone := func(at time.Duration) *StreamRecord {
		return &StreamRecord{Sessions: []Session{{Responses: []Received{{At: at,
			Response: &pb.WatchResponse{Events: []*mvccpb.Event{
				{Type: mvccpb.Event_DELETE, Kv: &mvccpb.KeyValue{Key: []byte(leasePrefix + "k")}},
			}}}}}}}
	}
	const second = time.Second
	for _, test := range []struct {
		seen  []time.Duration
		wrong bool
	}{
		{[]time.Duration{3 * second}, false},
		{[]time.Duration{40 * second, 4 * second}, false},
		{[]time.Duration{40 * second, 30 * second}, true},
		{[]time.Duration{4 * second, second}, true},
		{nil, true},
	} {
		rec := &Recorded{onTime: true, leased: []leasedKey{
			{key: leasePrefix + "k", acked: second / 2, ttl: 2 * second, acknowledged: true},
		}}
		for _, at := range test.seen {
			rec.Streams = append(rec.Streams, gone(at))
		}
		report := &Report{}
		checkExpiry(rec, report)
		if wrong := len(report.Violations) > 0; wrong != test.wrong {
			t.Errorf("seen at %v: %v", test.seen, report.Violations)
		}
	}
}
