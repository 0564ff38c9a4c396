package logstructured

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stele-db/stele/logstructured/hashkv"
	"github.com/stele-db/stele/logstructured/log"
)

// exportBatchTime is how long the database may take to read a batch of values.
const exportBatchTime = time.Minute

// Export is the content of a store at one moment, to be stored in another form. It is what an etcd's database would
// hold after a compaction at the compact revision has ended. The rows are in memory already; Read reads their values.
type Export struct {
	// Revision and CompactRevision are etcd's; CompactRevision is -1 if there was no compaction.
	Revision, CompactRevision Revision
	// Position is the position of the newest entry of the log, and Term the raft term.
	Position log.Position
	Term     uint64
	// Leases are all leases that a server with etcd's leases needs so that each key expires. In [LeaseModeTTL] they are
	// synthetic, one for each TTL in use.
	Leases []ExportedLease
	// Records are users, roles and the like.
	Records Records

	log    log.Log
	lane   lane
	rows   []*row
	hashed []*row
}

// Export takes the current state. A later compaction may delete rows of it once their retention is over: [Export.Read]
// then fails.
func (s *Store) Export(ctx context.Context, guard Guard) (*Export, error) {
	type state struct {
		snap *snapshot
		ends leaseEnds
	}
	now, err := update(ctx, s, call{guard: guard}, func(ev *evaluation) (state, error) {
		return state{ev.st.publish(), ev.leases.ends(&ev.st.control)}, nil
	})
	if err != nil {
		return nil, err
	}
	return newExport(s.log, s.values.lanes.scans, now.snap, now.ends), nil
}

// ExportLog takes the state that a log holds. It writes nothing. Other processes may serve the log at the same time, in
// any lease mode.
func ExportLog(ctx context.Context, l log.Log) (*Export, error) {
	content, err := loadServed(ctx, l)
	if err != nil {
		return nil, err
	}
	snap := &content.st.snapshot
	return newExport(boundedLog{l, exportBatchTime}, lane{}, snap, content.leases.ends(&snap.control)), nil
}

func newExport(l log.Log, in lane, snap *snapshot, ends leaseEnds) *Export {
	return &Export{
		Revision: snap.revision, CompactRevision: snap.compact, Position: snap.head.Position, Term: snap.term,
		Leases: ends.leases(snap), Records: Records{&snap.control},
		log: l, lane: in, rows: snap.compacted(), hashed: snap.hashed(snap.revision),
	}
}

// compacted returns the rows that remain once a compaction at the compact revision has ended, in the order of their
// revisions.
func (s *snapshot) compacted() []*row {
	// The rows above the compact revision are in the history, in order; few of the rows up to it remain.
	var rows []*row
	s.keys.Scan(func(ki *keyIndex) bool {
		if n := ki.firstKept(s.compact); n < len(ki.rows) && ki.rows[n].revision <= s.compact {
			rows = append(rows, ki.rows[n])
		}
		return true
	})
	slices.SortFunc(rows, compareRevisions)
	return append(rows, s.history[s.since(s.compact+1):]...)
}

// Len returns how many entries [Export.Read] passes to fn.
func (x *Export) Len() int { return len(x.rows) }

// Read calls fn with all entries in the order of their revisions, in batches, without Position, ID and Time. fn may
// keep the entries. Read returns the errors of fn. hashKV is the HashKV at x.Revision of the entries that were read.
// [ErrCompacted] means that rows were deleted meanwhile: the caller starts over with a new Export.
func (x *Export) Read(ctx context.Context, fn func([]log.Entry) error) (hashKV uint32, err error) {
	hash := hashkv.New()
	hashed := x.hashed
	for rows := x.rows; len(rows) > 0; {
		n := valueBatch(rows)
		entries, err := x.read(ctx, rows[:n])
		if err != nil {
			return 0, err
		}
		for i, r := range rows[:n] {
			if len(hashed) > 0 && hashed[0] == r {
				hashed = hashed[1:]
				if err := hash.Add(&entries[i]); err != nil {
					return 0, err
				}
			}
		}
		if err := fn(entries); err != nil {
			return 0, err
		}
		rows = rows[n:]
	}
	return hash.Sum(), nil
}

// read converts a batch of rows to entries.
func (x *Export) read(ctx context.Context, rows []*row) ([]log.Entry, error) {
	values, err := peek(ctx, x.log, x.lane, rows)
	if errors.Is(err, errValueGone) {
		return nil, fmt.Errorf("%w: a compaction deleted a row before it was read: %w", ErrCompacted, err)
	}
	if err != nil {
		return nil, err
	}
	entries := make([]log.Entry, len(rows))
	for i, r := range rows {
		entries[i] = r.entry()
		entries[i].Position, entries[i].ID, entries[i].Value = 0, 0, values[i]
	}
	return entries, nil
}
