package logstructured

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	// exportBatch bounds the entries, and exportBatchBytes the bytes of values, that an export reads at once.
	exportBatch      = 1000
	exportBatchBytes = 8 << 20
	// exportBatchTime is how long the database may take for that.
	exportBatchTime = time.Minute
)

// Export is everything that a store holds as of one moment, to be written down in another form: what an etcd would have in its database after a
// compaction at the compact revision has ended. The rows are in memory already, their values are read as they are asked for.
type Export struct {
	// Revision and CompactRevision are etcd's; CompactRevision is -1 if there was no compaction.
	Revision, CompactRevision Revision
	// Position is that of the newest entry of the log, and Term the raft term.
	Position Position
	Term     uint64
	// Leases are all that a server of etcd's leases needs so that each key expires. In [LeaseModeTTL] they are made up, one for each TTL in use.
	Leases []ExportedLease
	// Records are users, roles and the like.
	Records Records

	log    Log
	rows   []*row
	hashed []*row
}

// ExportedLease is a lease, its TTL and how much of that is left, at least 1, in seconds.
type ExportedLease struct {
	ID             LeaseID
	TTL, Remaining int64
}

// Export takes the current state. A compaction that comes while it is read may delete rows of it, once their retention is over: [Export.Read] then fails.
func (s *Store) Export(ctx context.Context) (*Export, error) {
	var snap *snapshot
	var ends leaseEnds
	err := s.write(ctx, 0, func(st *step) error {
		snap, ends = st.st.publish(), s.writer.leases.ends(&st.st.control)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return newExport(s.log, snap, ends), nil
}

// ExportLog takes the state that a log holds. It writes nothing: other processes may serve the log, in whichever lease mode, or none.
func ExportLog(ctx context.Context, log Log) (*Export, error) {
	st, leases, _, err := loadServed(ctx, log)
	if err != nil {
		return nil, err
	}
	return newExport(log, &st.snapshot, leases.ends(&st.control)), nil
}

func newExport(log Log, snap *snapshot, ends leaseEnds) *Export {
	return &Export{
		Revision: snap.revision, CompactRevision: snap.compact, Position: snap.head.Position, Term: snap.term,
		Leases: ends.leases(snap), Records: Records{&snap.control},
		log: log, rows: snap.compacted(), hashed: snap.hashed(snap.revision),
	}
}

// compacted returns the rows that are left once a compaction at the compact revision has ended, in the order of their revisions.
func (s *snapshot) compacted() []*row {
	// Those above are at hand in order; of those up to it few are left.
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

// Len returns how many entries [Export.Read] gives.
func (x *Export) Len() int { return len(x.rows) }

// Read calls fn with all entries in the order of their revisions, in batches that belong to it, but without Position, ID and Time; its errors are returned. HashKV at
// x.Revision is that of what was read. [ErrCompacted] means that the rows were deleted meanwhile: start over with a new Export.
func (x *Export) Read(ctx context.Context, fn func([]Entry) error) (hashKV uint32, err error) {
	hash := newHasher()
	hashed := x.hashed
	for rows := x.rows; len(rows) > 0; {
		n, size := 0, 0
		for n < len(rows) && n < exportBatch && size < exportBatchBytes {
			size += len(rows[n].key) + int(rows[n].size)
			n++
		}
		entries, err := x.read(ctx, rows[:n])
		if err != nil {
			return 0, err
		}
		for i, r := range rows[:n] {
			if len(hashed) > 0 && hashed[0] == r {
				hashed = hashed[1:]
				if err := hash.add(r, entries[i].Value); err != nil {
					return 0, err
				}
			}
		}
		if err := fn(entries); err != nil {
			return 0, err
		}
		rows = rows[n:]
	}
	return hash.sum(), nil
}

// read makes entries of rows. Values that are not in memory are not kept there: nobody is about to ask for them.
func (x *Export) read(ctx context.Context, rows []*row) ([]Entry, error) {
	entries := make([]Entry, len(rows))
	var missing []int
	var positions []Position
	for i, r := range rows {
		entries[i] = Entry{
			Kind: KindPut, Revision: r.revision, Sub: int64(r.sub), Key: r.key, ValueSize: int(r.size),
			CreateRevision: r.create, Version: r.version, Lease: r.lease,
		}
		if r.tombstone() {
			entries[i].Kind = KindTombstone
		} else if cv := r.value.Load(); cv != nil {
			entries[i].Value = cv.data
		} else {
			missing, positions = append(missing, i), append(positions, r.position)
		}
	}
	if len(missing) == 0 {
		return entries, nil
	}
	ctx, cancel := context.WithTimeout(ctx, exportBatchTime)
	defer cancel()
	answer, err := x.log.Values(ctx, positions)
	if err != nil {
		return nil, unavailable(ctx, "read values", err)
	}
	for i, m := range missing {
		if !answer.Found[i] || answer.IDs[i] != rows[m].id {
			return nil, fmt.Errorf("%w: revision %d was deleted by a compaction while it was waiting to be read", errors.Join(ErrCompacted, errValueGone), rows[m].revision)
		}
		entries[m].Value = answer.Values[i]
	}
	return entries, nil
}
