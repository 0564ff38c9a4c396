package logstructured

import (
	"bytes"
	"sort"
	"sync/atomic"

	"github.com/tidwall/btree"

	"github.com/stele-db/stele/logstructured/log"
)

// row is the index's record of a put or tombstone. Its value may be in memory or not; all fields but value are fixed
// once the row is published.
type row struct {
	key      []byte
	position log.Position
	// id is the ID of the append. After the database went back in time, another row may have the same position.
	id       log.AppendID
	revision Revision
	// create and version are 0 for a tombstone.
	create  Revision
	version int64
	lease   LeaseID
	// deadline is when the row's TTL ends, on the clock of [expiry], or 0 if it never does. Only the writer uses it.
	deadline log.Timestamp
	// sub is the sub-revision. An append holds far fewer entries than its type can count.
	sub uint32
	// size is the length of the value, which is not always in memory.
	size  uint32
	value atomic.Pointer[cachedValue]
}

// cachedValue is a value in memory, to which its row points.
type cachedValue struct {
	data []byte
	// used is set by readers and cleared by the clock hand.
	used atomic.Bool
}

func (r *row) tombstone() bool { return r.version == 0 }

func (r *row) cached() (data []byte, ok bool) {
	cv := r.value.Load()
	if cv == nil {
		return nil, false
	}
	if !cv.used.Load() { // a plain store by every reader would bounce the cache line
		cv.used.Store(true)
	}
	return cv.data, true
}

// cost is the number of bytes of the row's key and value.
func (r *row) cost() int64 { return int64(len(r.key)) + int64(r.size) }

func newRow(e *log.Entry) *row {
	r := &row{
		key: e.Key, revision: e.Revision, sub: uint32(e.Sub),
		create: e.CreateRevision, version: e.Version, lease: e.Lease, size: uint32(max(len(e.Value), e.ValueSize)),
	}
	r.place(e)
	return r
}

// place sets the fields that are known only once the entry was appended.
func (r *row) place(e *log.Entry) { r.position, r.id = e.Position, e.ID }

// keyIndex is the history of one key, oldest first. It is immutable. A write makes a new keyIndex that shares the
// backing array, which is safe because an older keyIndex is never read beyond its own length.
//
// Example: put at revision 2, put at 5, delete at 7, put at 9, all on one key:
//
//	rows: 2{create 2, version 1} 5{create 2, version 2} 7{tombstone} 9{create 9, version 1}
//
// The tombstone ends the first generation. At revision 8 the key does not exist; at 6 its row is row 5. Compaction at 6
// drops row 2 and keeps row 5, which is still the key's row at 6. Compaction at 7 keeps the tombstone, as etcd does,
// and compaction at 8 drops it.
type keyIndex struct {
	key  []byte
	rows []*row
}

// newest is never nil: a key without rows is not in the index.
func (ki *keyIndex) newest() *row { return ki.rows[len(ki.rows)-1] }

// find returns the index of the newest row at or below revision, or -1.
func (ki *keyIndex) find(revision Revision) int {
	if last := len(ki.rows) - 1; ki.rows[last].revision <= revision {
		return last
	}
	return sort.Search(len(ki.rows), func(i int) bool { return ki.rows[i].revision > revision }) - 1
}

// live returns the key's row at revision, or nil if the key did not exist.
func (ki *keyIndex) live(revision Revision) *row {
	i := ki.find(revision)
	if i < 0 || ki.rows[i].tombstone() {
		return nil
	}
	return ki.rows[i]
}

// firstKept returns how many of the oldest rows are unreachable once compact is the compact revision.
func (ki *keyIndex) firstKept(compact Revision) int {
	i := ki.find(compact)
	switch {
	case i < 0:
		return 0
	case ki.rows[i].tombstone() && ki.rows[i].revision < compact:
		return i + 1
	default:
		return i
	}
}

type tree = btree.BTreeG[*keyIndex]

func newTree() *tree {
	return btree.NewBTreeGOptions(
		func(a, b *keyIndex) bool { return bytes.Compare(a.key, b.key) < 0 },
		btree.Options{NoLocks: true})
}

// rank returns the number of keys before key.
func rank(t *tree, key []byte) int {
	return sort.Search(t.Len(), func(i int) bool {
		ki, _ := t.GetAt(i)
		return bytes.Compare(ki.key, key) >= 0
	})
}

// view is the index at one moment. Both [snapshot] and the writer's state embed one.
type view struct {
	keys *tree
	// dead holds the keys whose newest row is a tombstone, so that counts need not look at each key.
	dead     *tree
	revision Revision
	// compact is the compact revision, -1 before the first compaction (Compact 0 is allowed once, as in etcd).
	compact Revision
}

// get returns the key's history, or nil.
func (v *view) get(key []byte) *keyIndex {
	ki, _ := v.keys.Get(&keyIndex{key: key})
	return ki
}

// ascend calls fn with the history of every key in r, in key order, until fn returns false.
func (v *view) ascend(r KeyRange, fn func(*keyIndex) bool) {
	if r.Single() {
		if ki := v.get(r.Key); ki != nil {
			fn(ki)
		}
		return
	}
	toEnd := r.FromKey()
	v.keys.Ascend(&keyIndex{key: r.Key}, func(ki *keyIndex) bool {
		if !toEnd && bytes.Compare(ki.key, r.End) >= 0 {
			return false
		}
		return fn(ki)
	})
}

// rows returns the live rows of r at revision in key order, at most limit of them (0: all), and how many there are.
func (v *view) rows(r KeyRange, revision Revision, limit int) (rows []*row, count int64) {
	if current := revision >= v.revision; current && limit > 0 && !r.Single() {
		v.ascend(r, func(ki *keyIndex) bool {
			if newest := ki.newest(); !newest.tombstone() {
				rows = append(rows, newest)
			}
			return len(rows) < limit
		})
		if len(rows) < limit {
			return rows, int64(len(rows))
		}
		return rows, v.countCurrent(r)
	}
	v.ascend(r, func(ki *keyIndex) bool {
		if live := ki.live(revision); live != nil {
			count++
			if limit <= 0 || len(rows) < limit {
				rows = append(rows, live)
			}
		}
		return true
	})
	return rows, count
}

// count returns the number of live keys of r at revision.
func (v *view) count(r KeyRange, revision Revision) (count int64) {
	if revision >= v.revision {
		return v.countCurrent(r)
	}
	v.ascend(r, func(ki *keyIndex) bool {
		if ki.live(revision) != nil {
			count++
		}
		return true
	})
	return count
}

// countCurrent counts in O(log² n): the keys in the range, as a difference of two ranks, less the deleted keys among
// them.
func (v *view) countCurrent(r KeyRange) int64 {
	if r.Single() {
		if ki := v.get(r.Key); ki != nil && !ki.newest().tombstone() {
			return 1
		}
		return 0
	}
	if !r.FromKey() && bytes.Compare(r.Key, r.End) >= 0 {
		return 0
	}
	between := func(t *tree) int {
		if r.FromKey() {
			return t.Len() - rank(t, r.Key)
		}
		return rank(t, r.End) - rank(t, r.Key)
	}
	return int64(between(v.keys) - between(v.dead))
}
