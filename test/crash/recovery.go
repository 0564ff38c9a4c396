package crash

import (
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// Recovery is a jump over revisions that the database has lost.
type Recovery struct {
	// At is a time before any client noticed the loss, with no pending request.
	At time.Duration
	// Revision is the first revision of the new history, higher than all lost ones. Everything before it counts as
	// compacted.
	Revision int64
	// Kvs are the keys at Revision, in key order.
	Kvs []*mvccpb.KeyValue
	// later are the compactions of the new history. They may also cancel a watch that begins in the lost one.
	later []compaction
}

// Restored records that the database has gone back in time, while clients are held and before any of them noticed. No
// client compacts until Recovered, so that the beginning of the new history stays readable.
func (r *Running) Restored() {
	r.recovery = &Recovery{At: r.now()}
	r.uncompacted.Store(true)
}

// Recovered records where the new history begins and the keys at that revision, in key order.
func (r *Running) Recovered(revision int64, kvs []*mvccpb.KeyValue) {
	r.recovery.Revision, r.recovery.Kvs = revision, kvs
	r.uncompacted.Store(false)
}

// Now returns the time since the run began.
func (r *Running) Now() time.Duration { return r.now() }

// Split divides a run at its recovery into two histories, each of which is checked by itself. Contradictions to the
// recovery are among the faults of the second.
func (rec *Recorded) Split() (before, after *Recorded) {
	jump := rec.Recovery
	ended := *jump
	ended.later = nil
	before, after = rec.part(rec.started, jump.At), rec.part(jump.At, rec.stopped)
	before.Faults, before.Recovery = rec.Faults, &ended
	after.Base = &State{Rev: jump.Revision, Compacted: jump.Revision, kvs: jump.Kvs}
	for _, op := range rec.Ops {
		part := before
		if rev := revision(op.Response); rev >= jump.Revision || op.Outcome != Acked && op.Call >= jump.At {
			part = after
		} else if op.Outcome == Acked && op.Call >= jump.At && !op.serializable() {
			after.fault("answered from the lost history: %v", op)
		}
		part.Ops = append(part.Ops, op)
		if r, ok := op.Request.(*pb.CompactionRequest); ok && op.Call >= jump.At && op.Outcome != Rejected {
			ended.later = append(ended.later, compaction{op.Call, r.Revision})
		}
	}
	for _, k := range rec.leased {
		part := before
		if k.rev >= jump.Revision || !k.acknowledged && k.called >= jump.At {
			part = after
		}
		part.leased = append(part.leased, k)
	}
	after.Windows = []Window{{From: jump.At, To: forever, Rev: jump.Revision, Compacted: jump.Revision}}
	for _, w := range rec.Windows {
		if w.From < jump.At {
			w.To = min(w.To, jump.At)
			before.Windows = append(before.Windows, w)
			continue
		}
		after.Windows[len(after.Windows)-1].To = w.From
		after.Windows = append(after.Windows, w)
	}
	for _, s := range rec.Streams {
		older := &StreamRecord{Name: s.Name, Watchers: s.Watchers}
		newer := &StreamRecord{Name: s.Name, Watchers: s.Watchers}
		for _, session := range s.Sessions {
			if session.Starts[0] >= jump.Revision {
				newer.Sessions = append(newer.Sessions, session)
				continue
			}
			older.Sessions = append(older.Sessions, session)
			for _, r := range session.Responses {
				w := r.Response
				if !w.Created && !w.Canceled && w.Header.GetRevision() >= jump.Revision {
					after.fault("watch %s continued into the new history: %v", s.Name, brief(w))
				}
			}
		}
		before.Streams, after.Streams = append(before.Streams, older), append(after.Streams, newer)
	}
	before.Full, after.Full = complete(before.Streams[0], 1), complete(after.Streams[0], jump.Revision)
	return before, after
}

func (rec *Recorded) part(from, to time.Duration) *Recorded {
	return &Recorded{onTime: rec.onTime, slack: rec.slack, started: from, stopped: to, servers: rec.servers,
		holds: rec.holds, impaired: rec.impaired}
}

func (rec *Recorded) fault(format string, args ...any) {
	rec.Faults = append(rec.Faults, fmt.Sprintf(format, args...))
}

// Terms returns the lowest and the highest raft term of the answers between two times; 0 if there were none.
func (rec *Recorded) Terms(from, to time.Duration) (lowest, highest uint64) {
	see := func(at time.Duration, term uint64) {
		if term == 0 || at < from || at >= to {
			return
		}
		if lowest == 0 || term < lowest {
			lowest = term
		}
		highest = max(highest, term)
	}
	for _, op := range rec.Ops {
		see(op.Return, op.Term)
	}
	for _, s := range rec.Streams {
		for _, session := range s.Sessions {
			for _, r := range session.Responses {
				see(r.At, r.Response.Header.GetRaftTerm())
			}
		}
	}
	return lowest, highest
}

// LostAfter returns the number of acknowledged writes that the recovery took away: those between the revision of the
// backup and the recovery.
func (rec *Recorded) LostAfter(backup int64) int {
	n := 0
	for _, op := range rec.Ops {
		if op.Outcome == Acked && changed(op.Response) && revision(op.Response) > backup &&
			revision(op.Response) < rec.Recovery.Revision {
			n++
		}
	}
	return n
}

// Everything returns a request for all keys at a revision, or at the current one if rev is 0.
func Everything(rev int64) *pb.RangeRequest {
	return &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, Revision: rev}
}
