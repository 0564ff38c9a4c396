package logstructured

import "github.com/stele-db/stele/logstructured/log"

// add makes r the newest row of its key.
func (st *state) add(r *row) {
	prev := st.get(r.key)
	next := st.extend(prev, r)
	if prev == nil {
		st.attach(nil, r)
	} else {
		st.attach(prev.newest(), r)
		if prev.newest().tombstone() {
			st.dead.Delete(prev)
		}
	}
	st.keys.SetHint(next, &st.hint)
	if r.tombstone() {
		st.dead.Set(next)
	}
}

// extend returns the history of a key, so far prev (nil: none), with r as its newest row. It also records which rows
// become garbage.
func (st *state) extend(prev *keyIndex, r *row) *keyIndex {
	next := &keyIndex{key: r.key}
	st.rowCount++
	if prev != nil {
		// Keep one copy of each key in memory, however many revisions it has.
		next.key, r.key = prev.key, prev.key
		next.rows = append(prev.rows, r)
		if newest := prev.newest(); !newest.tombstone() {
			st.garbage.superseded = append(st.garbage.superseded, deadRow{newest, r.revision})
		}
	} else {
		next.rows = []*row{r}
		st.keyBytes += memoryOf(len(r.key))
	}
	if r.tombstone() {
		st.tombstones++
		st.garbage.tombstones = append(st.garbage.tombstones, deadRow{r, r.revision + 1})
	}
	st.history = append(st.history, r)
	st.revision = r.revision
	return next
}

// apply applies the next entry of the log, and returns its row if the entry writes a key.
func (st *state) apply(e *log.Entry) *row {
	st.head = log.Head{Position: e.Position, ID: e.ID}
	switch e.Kind {
	case log.KindPut, log.KindTombstone:
		r := newRow(e)
		st.add(r)
		return r
	}
	st.applyControl(e)
	return nil
}

// applyControl applies an entry that does not write a key.
func (st *state) applyControl(e *log.Entry) {
	switch e.Kind {
	case log.KindCompaction:
		st.applyCompaction(e)
	case log.KindRecovery:
		st.applyRecovery(e)
	case log.KindRecord:
		st.applyRecord(e)
	case log.KindLease:
		st.applyLease(e)
	case log.KindJump:
		st.revision = max(st.revision, e.Revision)
		st.garbage.jumps = append(st.garbage.jumps, deadJump{e.Position, e.Revision})
	}
}

func (st *state) applyCompaction(e *log.Entry) {
	st.retireCompaction()
	st.compaction = e.Position
	st.compact = max(st.compact, e.Revision)
	// The newest write may have been deleted by now, but the compacted revision had been reached.
	st.revision = max(st.revision, e.Revision)
}

// retireCompaction marks the entry that set the compact revision as garbage, because another one replaces it. The entry
// of a recovery is kept: it holds the term.
func (st *state) retireCompaction() {
	if st.compaction != 0 && st.compaction != st.recovery {
		st.discard(st.compaction)
	}
}

// applyRecovery makes everything before the entry's revision unreadable, including the history for watchers: it is
// unknown which part of it clients have seen.
func (st *state) applyRecovery(e *log.Entry) {
	st.retireCompaction()
	if st.recovery != 0 {
		st.discard(st.recovery)
	}
	st.recovery, st.recovered, st.term = e.Position, e.Revision, uint64(e.Version)
	st.compaction = e.Position
	st.revision, st.compact = e.Revision, e.Revision
	st.cut(e.Revision)
}

// applyRecord sets or removes a record. The entry of the previous record is garbage.
func (st *state) applyRecord(e *log.Entry) {
	name := string(e.Key)
	st.recorded, st.edition = e.Position, editions.Add(1)
	if st.records != nil {
		if previous, ok := st.records.Get(&record{name: name}); ok {
			st.discard(previous.position)
			st.recordBytes -= memoryOfRecord(previous)
		}
	}
	if e.Version == 0 {
		// The log must not keep the removal longer than the record that it removes.
		st.discard(e.Position)
		if st.records != nil {
			st.records.Delete(&record{name: name})
		}
		return
	}
	r := &record{name: name, value: e.Value, position: e.Position}
	st.recordBytes += memoryOfRecord(r)
	setIn(&st.records, lessRecord, r)
	if name == recordLeaseMode {
		st.setLeaseMode(LeaseMode(e.Value))
	}
}

// applyLease grants or revokes a lease.
func (st *state) applyLease(e *log.Entry) {
	previous := st.lease(e.Lease)
	if previous != nil {
		st.discard(previous.granted)
	}
	if e.Version == 0 {
		st.discard(e.Position)
		if previous != nil {
			st.leases.Delete(previous)
		}
		return
	}
	setIn(&st.leases, lessLease, &lease{id: e.Lease, ttl: e.Version, granted: e.Position})
}

// attach updates the keys of the leases when r replaces previous (nil: none), in LeaseModeEtcd.
func (st *state) attach(previous, r *row) {
	if st.mode != LeaseModeEtcd {
		return
	}
	if previous != nil && previous.lease != 0 && previous.lease != r.lease && st.attached != nil {
		st.attached.Delete(attachment{previous.lease, keyString(previous.key)})
	}
	if r.lease != 0 {
		setIn(&st.attached, lessAttachment, attachment{r.lease, keyString(r.key)})
	}
}

// setLeaseMode sets the mode and attaches the live keys to their leases in that mode.
func (st *state) setLeaseMode(mode LeaseMode) {
	if st.mode == mode {
		return
	}
	st.mode = mode
	st.attachAll()
}

// attachAll attaches all live keys to their leases from scratch.
func (st *state) attachAll() {
	st.attached = nil
	if st.mode != LeaseModeEtcd {
		return
	}
	st.keys.Scan(func(ki *keyIndex) bool {
		if newest := ki.newest(); newest.lease != 0 {
			st.attach(nil, newest)
		}
		return true
	})
}
