package logstructured

import (
	"cmp"
	"context"
	"slices"

	"github.com/stele-db/stele/logstructured/hashkv"
)

// HashKV hashes the history up to revision (0: the current one), as etcd's storage/mvcc/hash.go does. It covers the
// keys and values that etcd's key bucket would hold, so both return the same hash for the same history.
func (s *Store) HashKV(ctx context.Context, guard Guard, revision Revision) (*HashKVResult, error) {
	snap, err := s.current(ctx, guard)
	if err != nil {
		return nil, err
	}
	if err := snap.checkRevision(revision); err != nil {
		return nil, err
	}
	if revision <= 0 {
		revision = snap.revision
	}
	hash, err := s.hash(ctx, snap, revision)
	if err != nil {
		return nil, s.compactedIfGone(err)
	}
	return &HashKVResult{
		Hash: hash, Revision: snap.revision, HashRevision: revision, CompactRevision: snap.compact,
	}, nil
}

// Hash hashes everything stored. It differs between stores with the same history, as etcd's does.
func (s *Store) Hash(ctx context.Context, guard Guard) (hash uint32, revision Revision, err error) {
	snap, err := s.current(ctx, guard)
	if err != nil {
		return 0, 0, err
	}
	hash, err = s.hash(ctx, snap, snap.revision)
	return hash, snap.revision, s.compactedIfGone(err)
}

// hashed returns the rows that a hash at revision covers, in the order of their revisions: all rows above the compact
// revision, and of the rows up to it those that are still current at revision. If no key is live at revision, etcd does
// not filter, and the rows that were current at the compact revision count too. [hashkv.Selection] applies the same
// rule to histories without an index.
func (s *snapshot) hashed(revision Revision) []*row {
	var rows []*row
	live := false
	s.keys.Scan(func(ki *keyIndex) bool {
		live = ki.live(revision) != nil
		return !live
	})
	s.keys.Scan(func(ki *keyIndex) bool {
		if r := ki.live(s.compact); r != nil && !live {
			rows = append(rows, r)
		}
		for i, r := range ki.rows[:ki.find(revision)+1] {
			if r.revision > s.compact || (!r.tombstone() && i == ki.find(revision)) {
				rows = append(rows, r)
			}
		}
		return true
	})
	slices.SortFunc(rows, compareRevisions)
	return rows
}

func compareRevisions(a, b *row) int {
	return cmp.Or(cmp.Compare(a.revision, b.revision), cmp.Compare(a.sub, b.sub))
}

// hash hashes the snapshot at revision. Requests for the same hash share the work.
func (s *Store) hash(ctx context.Context, snap *snapshot, revision Revision) (uint32, error) {
	return s.hashes.do(ctx, hashKey{revision, snap.compact, snap.term}, func(ctx context.Context) (uint32, error) {
		return s.values.hash(ctx, snap.hashed(revision))
	})
}

// hash hashes rows in the order given. errValueGone means that one was deleted meanwhile.
func (v *values) hash(ctx context.Context, rows []*row) (uint32, error) {
	h := hashkv.New()
	for len(rows) > 0 {
		n := valueBatch(rows)
		values, err := peek(ctx, v.log, v.lanes.scans, rows[:n])
		if err != nil {
			v.alert(err)
			return 0, err
		}
		for i, r := range rows[:n] {
			e := r.entry()
			e.Value = values[i]
			if err := h.Add(&e); err != nil {
				return 0, err
			}
		}
		rows = rows[n:]
	}
	return h.Sum(), nil
}
