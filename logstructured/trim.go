package logstructured

import "slices"

// cut drops the history before revision.
func (st *state) cut(revision Revision) {
	n := st.since(revision)
	if n > len(st.history)/8 {
		st.history = slices.Clone(st.history[n:]) // releases the earlier rows
	} else {
		st.history = st.history[n:]
	}
	st.start = max(st.start, revision)
	if st.start >= st.compact {
		st.lagging = 0
	}
}

// trim drops from the index the rows that the last compaction made unreachable. It drops rows of at most limit keys and
// appends them to dropped. It returns false if nothing is left to drop.
func (st *state) trim(limit int, dropped []*row) ([]*row, bool) {
	for _, queue := range []*[]deadRow{&st.garbage.superseded, &st.garbage.tombstones} {
		for len(*queue) > 0 && (*queue)[0].at <= st.compact {
			if limit--; limit < 0 {
				return dropped, true
			}
			dropped = st.trimKey((*queue)[0].row, dropped)
			(*queue)[0] = deadRow{}
			*queue = (*queue)[1:]
		}
	}
	for len(st.garbage.jumps) > 0 && st.garbage.jumps[0].at <= st.compact {
		st.discard(st.garbage.jumps[0].position)
		st.garbage.jumps = st.garbage.jumps[1:]
	}
	return dropped, false
}

func (st *state) trimKey(dead *row, dropped []*row) []*row {
	ki := st.get(dead.key)
	if ki == nil || ki.rows[0].position > dead.position {
		return dropped // dropped with an earlier row of the same key
	}
	n := ki.firstKept(st.compact)
	dropped = append(dropped, ki.rows[:n]...)
	st.dropped(ki.rows[:n], n == len(ki.rows))
	if n == len(ki.rows) {
		st.keys.Delete(ki)
		st.dead.Delete(ki)
		return dropped
	}
	kept := &keyIndex{key: ki.key, rows: append([]*row(nil), ki.rows[n:]...)}
	st.keys.Set(kept)
	if kept.newest().tombstone() {
		st.dead.Set(kept)
	}
	return dropped
}

// dropped updates the counts for rows of one key that were removed from the index. last is set if the key was removed
// with them.
func (st *state) dropped(rows []*row, last bool) {
	st.rowCount -= int64(len(rows))
	if len(rows) == 0 {
		return
	}
	for _, r := range rows {
		if r.tombstone() {
			st.tombstones--
		}
		if r.revision >= st.start {
			st.lagging += rowMemory
		}
	}
	if last {
		key := memoryOf(len(rows[0].key))
		st.keyBytes -= key
		if rows[len(rows)-1].revision >= st.start {
			st.lagging += key
		}
	}
}
