package logstructured

import (
	"context"
	"encoding/binary"
	"slices"

	"github.com/stele-db/stele/logstructured/log"
)

// evaluation runs requests on the writer's state and collects the resulting entries.
type evaluation struct {
	st     *state
	values *values
	// turn is the lane in which many values are read. The writer uses the zero lane, which does not wait, because every
	// write waits for the writer.
	turn   lane
	alarms *Derived[*alarms]
	// maxIndex is the limit of the index in bytes; 0 or less is none.
	maxIndex int64

	entries []log.Entry
	// rows holds the row of each entry, nil for entries that do not write a key.
	rows []*row
	// renewed holds the leases that were kept alive.
	renewed []LeaseID
	// size approximates the bytes of the entries.
	size int
}

// step is the evaluation of one request: all its writes share revision.
type step struct {
	*evaluation
	answer
	ctx      context.Context //nolint:containedctx // a step is one request, as an argument of all its functions would be
	revision Revision
	sub      int64
	// deleted holds the ranges that the operations checked so far delete. Single keys are left out: the caller refuses
	// transactions that delete and put the same key.
	deleted []KeyRange
}

// writesNothing reports whether the evaluated requests add no entry to the log.
func (ev *evaluation) writesNothing() bool { return len(ev.entries) == 0 && len(ev.renewed) == 0 }

func (ev *evaluation) begin(ctx context.Context) *step {
	return &step{evaluation: ev, ctx: ctx, revision: ev.st.revision + 1}
}

// admit checks the alarms and the limit of the index. Every write of a client calls it first, at its place in the log.
func (s *step) admit(c cost) error {
	if err := s.alarms.Of(Records{&s.st.control}).admit(c); err != nil {
		return err
	}
	if c.index > 0 && s.maxIndex > 0 && s.st.indexFull(c.index, s.maxIndex) {
		return errIndexFull
	}
	return nil
}

// newest returns the live row of key, or nil.
func (s *step) newest(key []byte) *row {
	if ki := s.st.get(key); ki != nil && !ki.newest().tombstone() {
		return ki.newest()
	}
	return nil
}

// write applies a write to the state and adds its entry to the append.
func (s *step) write(e log.Entry) {
	e.Revision, e.Sub = s.revision, s.sub
	s.sub++
	r := newRow(&e)
	if e.Kind == log.KindPut {
		r.value.Store(&cachedValue{data: e.Value})
	}
	s.st.add(r)
	s.appendEntry(e, r)
}

// writeControl applies an entry that does not write a key to the state and adds it to the append.
func (s *step) writeControl(e log.Entry) {
	e.Position = s.nextPosition()
	s.st.applyControl(&e)
	s.appendEntry(e, nil)
}

func (s *step) record(c RecordChange) {
	e := log.Entry{Kind: log.KindRecord, Revision: s.st.revision, Key: []byte(c.Name), Value: c.Value, Version: 1}
	if c.Remove {
		e.Value, e.Version = nil, 0
	}
	s.writeControl(e)
}

func (s *step) grant(id LeaseID, ttl int64) {
	s.writeControl(log.Entry{Kind: log.KindLease, Revision: s.st.revision, Lease: id, Version: ttl})
}

// revoke deletes the keys of a lease in key order, and then the lease.
func (s *step) revoke(id LeaseID) (keys int) {
	deleted := s.st.keysOf(id)
	for _, key := range deleted {
		s.write(log.Entry{Kind: log.KindTombstone, Key: []byte(key)})
	}
	s.writeControl(log.Entry{Kind: log.KindLease, Revision: s.st.revision, Lease: id})
	return len(deleted)
}

// compact appends the entry of a compaction and returns the position that it will have.
func (s *step) compact(revision Revision) log.Position {
	position := s.nextPosition()
	s.writeControl(log.Entry{Kind: log.KindCompaction, Revision: revision})
	return position
}

// renew adds entries for the leases that were kept alive. It may run after all evaluations, because the evaluation of a
// request cannot depend on these entries.
func (ev *evaluation) renew() {
	slices.Sort(ev.renewed)
	for ids := range slices.Chunk(slices.Compact(ev.renewed), maxRenewals) {
		e := log.Entry{Kind: log.KindKeepAlive, Revision: ev.st.revision, Value: make([]byte, 0, 8*len(ids))}
		for _, id := range ids {
			e.Value = binary.BigEndian.AppendUint64(e.Value, uint64(id))
		}
		ev.appendEntry(e, nil)
	}
	ev.renewed = nil
}

// maxRenewals bounds the number of leases in one keep-alive entry.
const maxRenewals = 8192

// nextPosition returns the position that the next entry will have.
func (ev *evaluation) nextPosition() log.Position {
	return ev.st.head.Position + log.Position(len(ev.entries)) + 1
}

func (ev *evaluation) appendEntry(e log.Entry, r *row) {
	ev.entries = append(ev.entries, e)
	ev.rows = append(ev.rows, r)
	ev.size += len(e.Key) + len(e.Value)
}
