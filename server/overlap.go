package server

import (
	"bytes"
	"slices"
	"sort"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// writeSet holds the keys that the operations of a branch may write, nested transactions included.
type writeSet struct {
	puts map[string]struct{}
	dels intervals
}

// checkOverlaps refuses two puts of one key, and a put of a key that is also deleted, among operations that run
// together. It follows etcd's checkIntervals exactly, gaps included, so that it accepts the same transactions:
//
//   - A nested transaction's puts are compared with the deletes of the enclosing branch and of the nested transactions
//     before it, but not with the deletes of those after it or of its own other branch.
//   - Both branches of one nested transaction may put the same key.
//   - A delete of all keys from a given one (range end "\x00") counts as deleting nothing.
func checkOverlaps(ops []*pb.RequestOp) error {
	puts, others := 0, 0
	for _, op := range ops {
		switch op.Request.(type) {
		case *pb.RequestOp_RequestPut:
			puts++
		case *pb.RequestOp_RequestDeleteRange, *pb.RequestOp_RequestTxn:
			others++
		}
	}
	// Most transactions have one or two puts, for which allocating a set is not worthwhile.
	if others == 0 && puts <= 16 {
		return checkFewPuts(ops)
	}
	_, err := writesOf(ops)
	return err
}

// checkFewPuts compares all pairs of puts.
func checkFewPuts(ops []*pb.RequestOp) error {
	for i, op := range ops {
		put := op.GetRequestPut()
		if put == nil {
			continue
		}
		for _, earlier := range ops[:i] {
			if p := earlier.GetRequestPut(); p != nil && bytes.Equal(p.Key, put.Key) {
				return rpctypes.ErrGRPCDuplicateKey
			}
		}
	}
	return nil
}

// writesOf collects the keys that ops may write, and refuses overlaps.
func writesOf(ops []*pb.RequestOp) (writeSet, error) {
	set := writeSet{puts: map[string]struct{}{}}
	for _, op := range ops {
		if del := op.GetRequestDeleteRange(); del != nil {
			set.dels = append(set.dels, deleted(del))
		}
	}
	set.dels = set.dels.normalize()

	for _, op := range ops {
		txn := op.GetRequestTxn()
		if txn == nil {
			continue
		}
		success, err := writesOf(txn.Success)
		if err != nil {
			return set, err
		}
		failure, err := writesOf(txn.Failure)
		if err != nil {
			return set, err
		}
		either := union(success.puts, failure.puts)
		if set.dels.containsAny(either) || intersect(set.puts, either) {
			return set, rpctypes.ErrGRPCDuplicateKey
		}
		set.puts = union(set.puts, either)
		set.dels = merge(set.dels, merge(success.dels, failure.dels))
	}
	for _, op := range ops {
		put := op.GetRequestPut()
		if put == nil {
			continue
		}
		if _, dup := set.puts[string(put.Key)]; dup || set.dels.contains(put.Key) {
			return set, rpctypes.ErrGRPCDuplicateKey
		}
		set.puts[string(put.Key)] = struct{}{}
	}
	return set, nil
}

// union adds the smaller set to the larger one and returns the latter.
func union(a, b map[string]struct{}) map[string]struct{} {
	if len(a) < len(b) {
		a, b = b, a
	}
	for k := range b {
		a[k] = struct{}{}
	}
	return a
}

func intersect(a, b map[string]struct{}) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	for k := range a {
		if _, ok := b[k]; ok {
			return true
		}
	}
	return false
}

// interval contains the keys k with begin <= k < end, or only the key begin if end is nil.
type interval struct{ begin, end []byte }

func deleted(r *pb.DeleteRangeRequest) interval {
	if len(r.RangeEnd) == 0 {
		return interval{begin: r.Key}
	}
	return interval{begin: r.Key, end: r.RangeEnd}
}

func (iv interval) empty() bool { return iv.end != nil && bytes.Compare(iv.begin, iv.end) >= 0 }

// contains reports whether iv contains k. k must not be less than begin.
func (iv interval) contains(k []byte) bool {
	if iv.end == nil {
		return bytes.Equal(iv.begin, k)
	}
	return bytes.Compare(k, iv.end) < 0
}

// before reports whether iv ends before the key k. k must not be less than begin.
func (iv interval) before(k []byte) bool { return !iv.contains(k) }

// reaches reports whether iv ends where o ends or later. Both must contain the begin of o.
func (iv interval) reaches(o interval) bool {
	switch {
	case o.end == nil:
		return true
	case iv.end == nil:
		return false
	}
	return bytes.Compare(iv.end, o.end) >= 0
}

// intervals is a set of keys: sorted, disjoint intervals, none of them empty.
type intervals []interval

// normalize turns any intervals into a set, in place.
func (s intervals) normalize() intervals {
	if len(s) == 0 {
		return nil
	}
	s = slices.DeleteFunc(s, interval.empty)
	slices.SortFunc(s, func(a, b interval) int { return bytes.Compare(a.begin, b.begin) })
	return s.coalesce()
}

// coalesce joins overlapping intervals, which must be sorted, in place.
func (s intervals) coalesce() intervals {
	out := s[:0]
	for _, iv := range s {
		if n := len(out); n > 0 && !out[n-1].before(iv.begin) {
			if !out[n-1].reaches(iv) {
				out[n-1].end = iv.end
			}
			continue
		}
		out = append(out, iv)
	}
	return out
}

func (s intervals) contains(k []byte) bool {
	i := sort.Search(len(s), func(i int) bool { return bytes.Compare(s[i].begin, k) > 0 })
	return i > 0 && s[i-1].contains(k)
}

func (s intervals) containsAny(keys map[string]struct{}) bool {
	if len(s) == 0 {
		return false
	}
	for k := range keys {
		if s.contains([]byte(k)) {
			return true
		}
	}
	return false
}

// merge returns the union of two sets.
func merge(a, b intervals) intervals {
	if len(a) == 0 {
		return b
	}
	if len(b) == 0 {
		return a
	}
	out := make(intervals, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if bytes.Compare(a[0].begin, b[0].begin) <= 0 {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	out = append(append(out, a...), b...)
	return out.coalesce()
}
