package logstructured

import (
	"github.com/tidwall/btree"

	"github.com/stele-db/stele/logstructured/log"
)

// snapshot is the published state. It is immutable, and readers may hold it as long as they like.
type snapshot struct {
	view
	control
	footprint
	// head is the position and append ID of the newest applied entry.
	head log.Head
	// term is the raft term. It is 1 at first, and rises by one each time the database is found to have gone back in
	// time.
	term uint64
	// history holds the rows from revision start on in the order of the log, for watchers. It begins at the compact
	// revision or earlier, because a watcher that was created before a compaction may continue to read for a while.
	history []*row
	start   Revision
}

// state is the writer's working copy of the index: the published snapshot plus the effects of the requests under
// evaluation. Only the writer uses it. reset undoes a failed append, which is cheap because trees are copied on write.
type state struct {
	snapshot
	garbage garbage
	// compaction is the position of the entry that set the compact revision, 0 if none. compactedAt is its time on the
	// [clock]; only the loader and the writer set it.
	compaction  log.Position
	compactedAt log.Timestamp
	// recovery is the position of the newest recovery entry, 0 if none, and recovered is its revision.
	recovery  log.Position
	recovered Revision
	// hint is the place of the last key in the tree. A write searches for its key and then sets it, so the second
	// search starts at the right place.
	hint btree.PathHint
	// probe is the item that get searches for.
	probe keyIndex
}

// get returns the key's history, or nil.
func (st *state) get(key []byte) *keyIndex {
	st.probe.key = key
	ki, _ := st.keys.GetHint(&st.probe, &st.hint)
	return ki
}

// garbage records which rows a compaction will make unreachable, in the order of the revision that does so. A
// compaction therefore costs as much as there is to drop, not as much as there is to keep. The rows of a key are always
// dropped oldest first, so tombstones, which live one revision longer, can have a queue of their own.
type garbage struct {
	superseded []deadRow // dead once compact >= at
	tombstones []deadRow
	// control are the positions of control entries (entries that are not of keys) that a later entry has replaced. They
	// are garbage at once.
	control []log.Position
	// jumps are entries that are needed until a compaction has passed their revision. From then on the entry of the
	// compaction shows that the revision was reached.
	jumps []deadJump
}

type deadJump struct {
	position log.Position
	at       Revision
}

type deadRow struct {
	row *row
	at  Revision
}

func newState() *state {
	return &state{snapshot: snapshot{
		view:    view{keys: newTree(), dead: newTree(), revision: 1, compact: -1},
		control: control{mode: LeaseModeTTL},
		term:    1,
	}}
}

// publish returns an immutable copy of the state.
func (st *state) publish() *snapshot {
	published := st.snapshot
	published.keys = st.keys.Copy()
	published.dead = st.dead.Copy()
	published.control = st.copyControl()
	return &published
}

// savepoint holds the state that reset needs in addition to the published snapshot.
type savepoint struct {
	garbage     garbage
	compaction  log.Position
	compactedAt log.Timestamp
}

func (st *state) savepoint() savepoint {
	return savepoint{st.garbage, st.compaction, st.compactedAt}
}

// reset undoes everything since the snapshot was published and the savepoint taken.
func (st *state) reset(published *snapshot, sp savepoint) {
	st.snapshot = *published
	st.keys = published.keys.Copy()
	st.dead = published.dead.Copy()
	st.control = published.copyControl()
	// The queues have only grown, so the savepoint's slices are prefixes of them.
	st.garbage, st.compaction, st.compactedAt = sp.garbage, sp.compaction, sp.compactedAt
}

// footprint counts the rows and the memory of the index, except for the counts that its trees keep.
type footprint struct {
	// rowCount is the number of rows of all keys, keyBytes the memory of the keys themselves.
	rowCount, keyBytes int64
	// tombstones is the number of rows that are tombstones.
	tombstones int64
	// recordBytes is the memory of records.
	recordBytes int64
	// lagging is the memory of rows that were dropped from the index and are still part of the history.
	lagging int64
}

// discard marks a control entry as garbage.
func (st *state) discard(position log.Position) {
	st.garbage.control = append(st.garbage.control, position)
}
