package logstructured

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

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
	// history holds the rows from revision start on in the order of the log, for watchers. It begins at the compact revision
	// or earlier: a watcher that was there before a compaction goes on reading for a while.
	history []*row
	start   Revision
}

// since returns the index in history of the first row at or above revision.
func (s *snapshot) since(revision Revision) int {
	return sort.Search(len(s.history), func(i int) bool { return s.history[i].revision >= revision })
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

// extend returns the history of a key, so far prev (nil: none), with r as its newest row, and notes what dies of it.
func (st *state) extend(prev *keyIndex, r *row) *keyIndex {
	next := &keyIndex{key: r.key}
	st.rowCount++
	if prev != nil {
		// One copy of each key in memory, however many revisions it has.
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

// apply makes the state that of the log one entry further, and returns the row if the entry is of a key.
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

// applyControl applies an entry that is not of a key.
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

// validate returns an error if an entry is none that a store writes, whatever else is in the log. A kind that a later version
// introduced is an error too: a store that does not know what an entry changes cannot go on.
func validate(e *log.Entry) error {
	switch e.Kind {
	case log.KindPut, log.KindTombstone:
		if len(e.Key) == 0 {
			return e.Damaged("it has no key")
		}
	case log.KindCompaction, log.KindRecovery, log.KindLease, log.KindJump:
	case log.KindRecord:
		if err := validateRecord(e); err != nil {
			return e.Damaged(err.Error())
		}
	case log.KindKeepAlive:
		if len(e.Value)%8 != 0 || len(e.Value) == 0 {
			return e.Damaged(fmt.Sprintf("it keeps leases alive in %d bytes", len(e.Value)))
		}
	default:
		return fmt.Errorf("%w: position %d is of %v", errUnknownKind, e.Position, e.Kind)
	}
	return nil
}

// validateRecord returns an error unless the record is of a form that this package knows, or another package's.
func validateRecord(e *log.Entry) error {
	switch name := string(e.Key); {
	case name == "":
		return errors.New("it is a record without a name")
	case e.Version == 0:
		return nil
	case name == recordLeaseMode:
		return LeaseMode(e.Value).Valid()
	case strings.HasPrefix(name, prefixAlarms):
		_, err := parseAlarm(name)
		return err
	}
	return nil
}

var errUnknownKind = errors.New("a later version of Stele writes to this database: upgrade")

func newRow(e *log.Entry) *row {
	r := &row{
		key: e.Key, revision: e.Revision, sub: uint32(e.Sub), create: e.CreateRevision, version: e.Version, lease: e.Lease,
		size: uint32(max(len(e.Value), e.ValueSize)),
	}
	r.place(e)
	return r
}

// place fills in what is known only once the entry was appended.
func (r *row) place(e *log.Entry) { r.position, r.id = e.Position, e.ID }

func (st *state) applyCompaction(e *log.Entry) {
	st.retireCompaction()
	st.compaction = e.Position
	st.compact = max(st.compact, e.Revision)
	// The newest write may be gone by now, but what was compacted had been reached.
	st.revision = max(st.revision, e.Revision)
}

// retireCompaction lets the entry that set the compact revision go, as another takes its place. That of a recovery stays: it holds the term.
func (st *state) retireCompaction() {
	if st.compaction != 0 && st.compaction != st.recovery {
		st.bury(st.compaction)
	}
}

// applyRecovery makes everything before the entry's revision unreadable, history and all: nobody can tell what clients saw of it.
func (st *state) applyRecovery(e *log.Entry) {
	st.retireCompaction()
	if st.recovery != 0 {
		st.bury(st.recovery)
	}
	st.recovery, st.recovered, st.term = e.Position, e.Revision, uint64(e.Version)
	st.compaction = e.Position
	st.revision, st.compact = e.Revision, e.Revision
	st.cut(e.Revision)
}

// cut drops the history before revision.
func (st *state) cut(revision Revision) {
	n := st.since(revision)
	if n > len(st.history)/8 {
		st.history = slices.Clone(st.history[n:]) // lets go of the rows before
	} else {
		st.history = st.history[n:]
	}
	st.start = max(st.start, revision)
	if st.start >= st.compact {
		st.lagging = 0
	}
}

// trim drops rows that are unreachable since the last compaction from the index, at most limit keys, and appends them to
// dropped. It returns false when there is nothing left to drop.
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
		st.bury(st.garbage.jumps[0].position)
		st.garbage.jumps = st.garbage.jumps[1:]
	}
	return dropped, false
}

func (st *state) trimKey(dead *row, dropped []*row) []*row {
	ki := st.get(dead.key)
	if ki == nil || ki.rows[0].position > dead.position {
		return dropped // went with an earlier row of the same key
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
