package logstructured

import (
	"context"
	"encoding/binary"
	"slices"

	"github.com/stele-db/stele/logstructured/log"
)

// draft is the next append while requests are evaluated: their effects on the state, and the resulting entries.
type draft struct {
	st     *state
	values *values
	// leases holds the deadlines of the published state. It is nil in the evaluation of a read.
	leases *expiry
	// lane is the lane in which many values are read. The writer uses the zero lane, which does not wait, because every
	// write waits for the writer.
	lane   lane
	alarms *Derived[*alarms]
	// maxIndex is the limit of the index in bytes; 0 or less is none.
	maxIndex int64

	entries []log.Entry
	// rows holds the row of each entry, nil for entries that do not write a key.
	rows []*row
	// keptAlive holds the leases that were kept alive.
	keptAlive []LeaseID
	// size approximates the bytes of the entries.
	size int
}

// evaluation is the evaluation of one request. All its writes share revision.
type evaluation struct {
	*draft
	answer
	ctx      context.Context //nolint:containedctx // an evaluation is one request
	revision Revision
	sub      int64
	// deleted holds the ranges that the operations checked so far delete. Single keys are left out: the caller refuses
	// transactions that delete and put the same key.
	deleted []KeyRange
}

// writesNothing reports whether the evaluated requests add no entry to the log.
func (d *draft) writesNothing() bool { return len(d.entries) == 0 && len(d.keptAlive) == 0 }

// evaluation returns the evaluation of the next request.
func (d *draft) evaluation(ctx context.Context) *evaluation {
	return &evaluation{draft: d, ctx: ctx, revision: d.st.revision + 1}
}

// checkLimits refuses a write that the alarms or the limit of the index forbid, at its place in the log.
func (ev *evaluation) checkLimits(c cost) error {
	if err := ev.alarms.Of(Records{&ev.st.control}).check(c); err != nil {
		return err
	}
	if c.index > 0 && ev.maxIndex > 0 && ev.st.indexFull(c.index, ev.maxIndex) {
		return errIndexFull
	}
	return nil
}

// newest returns the live row of key, or nil.
func (ev *evaluation) newest(key []byte) *row {
	if ki := ev.st.get(key); ki != nil && !ki.newest().tombstone() {
		return ki.newest()
	}
	return nil
}

// write applies a write to the state and adds its entry to the append.
func (ev *evaluation) write(e log.Entry) {
	e.Revision, e.Sub = ev.revision, ev.sub
	ev.sub++
	r := newRow(&e)
	if e.Kind == log.KindPut {
		r.value.Store(&cachedValue{data: e.Value})
	}
	ev.st.add(r)
	ev.appendEntry(e, r)
}

// writeControl applies an entry that does not write a key to the state and adds it to the append.
func (ev *evaluation) writeControl(e log.Entry) {
	e.Position = ev.nextPosition()
	ev.st.applyControl(&e)
	ev.appendEntry(e, nil)
}

func (ev *evaluation) record(c RecordChange) {
	e := recordEntry(ev.st.revision, c.Name, c.Value)
	if c.Remove {
		e.Value, e.Version = nil, 0
	}
	ev.writeControl(e)
}

func (ev *evaluation) grant(id LeaseID, ttl int64) {
	ev.writeControl(log.Entry{Kind: log.KindLease, Revision: ev.st.revision, Lease: id, Version: ttl})
}

// revoke deletes the keys of a lease in key order, and then the lease.
func (ev *evaluation) revoke(id LeaseID) (keys int) {
	deleted := ev.st.keysOf(id)
	for _, key := range deleted {
		ev.write(log.Entry{Kind: log.KindTombstone, Key: []byte(key)})
	}
	ev.writeControl(log.Entry{Kind: log.KindLease, Revision: ev.st.revision, Lease: id})
	return len(deleted)
}

// compact appends the entry of a compaction and returns the position that it will have.
func (ev *evaluation) compact(revision Revision) log.Position {
	position := ev.nextPosition()
	ev.writeControl(log.Entry{Kind: log.KindCompaction, Revision: revision})
	return position
}

// addKeepAlives adds entries for the leases that were kept alive. It may run after all evaluations, because none of
// them can depend on these entries.
func (d *draft) addKeepAlives() {
	slices.Sort(d.keptAlive)
	for ids := range slices.Chunk(slices.Compact(d.keptAlive), maxKeepAlives) {
		e := log.Entry{Kind: log.KindKeepAlive, Revision: d.st.revision, Value: make([]byte, 0, 8*len(ids))}
		for _, id := range ids {
			e.Value = binary.BigEndian.AppendUint64(e.Value, uint64(id))
		}
		d.appendEntry(e, nil)
	}
	d.keptAlive = nil
}

// maxKeepAlives bounds the number of leases in one keep-alive entry.
const maxKeepAlives = 8192

// nextPosition returns the position that the next entry will have.
func (d *draft) nextPosition() log.Position {
	return d.st.head.Position + log.Position(len(d.entries)) + 1
}

func (d *draft) appendEntry(e log.Entry, r *row) {
	d.entries = append(d.entries, e)
	d.rows = append(d.rows, r)
	d.size += len(e.Key) + len(e.Value)
}
