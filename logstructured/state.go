package logstructured

import (
	"github.com/tidwall/btree"

	"github.com/stele-db/stele/logstructured/log"
)

// snapshot is the published state: immutable, held by readers as long as they like.
type snapshot struct {
	view
	control
	footprint
	// head names the newest entry that was applied.
	head log.Head
	// term is the raft term: 1, and more by one for each time that the database was found to have gone back in time.
	term uint64
	// history holds the rows from revision start on in the order of the log, for watchers. It begins at the compact
	// revision or earlier: a watcher that was there before a compaction goes on reading for a while.
	history []*row
	start   Revision
}

// state is the writer's working copy of the index: the published snapshot plus what is being evaluated. Only the
// writer touches it. An append that fails is undone by reset, which is cheap: trees are copied on write.
type state struct {
	snapshot
	garbage garbage
	// compaction is the position of the entry that set the compact revision, 0 if none; compactedAt is its
	// time on the [clock], which only the loader and the writer know.
	compaction  log.Position
	compactedAt log.Timestamp
	// recovery is the position of the newest entry of that kind, 0 if none, and recovered its revision.
	recovery  log.Position
	recovered Revision
	// hint is where in the tree the last key was found: a write looks for its key, and then puts it there.
	hint btree.PathHint
	// probe is what get looks for.
	probe keyIndex
}

// get returns the key's history, or nil.
func (st *state) get(key []byte) *keyIndex {
	st.probe.key = key
	ki, _ := st.keys.GetHint(&st.probe, &st.hint)
	return ki
}

// garbage remembers which rows a compaction will make unreachable, in order of the revision that does, so that
// compacting costs as much as there is to drop and not as much as there is to keep. Rows of one key always leave
// oldest first, which is why tombstones, that live one revision longer, may have a queue of their own.
type garbage struct {
	superseded []deadRow // dead once compact >= at
	tombstones []deadRow
	// control are entries that are not of keys: dead as soon as another one has taken their place.
	control []log.Position
	// jumps are of use until a compaction has passed them: its entry holds the revision then.
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

// savepoint is what reset needs beside the published snapshot.
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
	// The queues only grew: the savepoint's slices are their beginnings.
	st.garbage, st.compaction, st.compactedAt = sp.garbage, sp.compaction, sp.compactedAt
}

// footprint counts what the index holds beside what its trees know themselves.
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

// bury says that an entry which is not of a key is dead.
func (st *state) bury(position log.Position) {
	st.garbage.control = append(st.garbage.control, position)
}
