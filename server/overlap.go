package server

import (
	"bytes"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/stele-db/stele/internal/keyrange"
)

// writeSet holds the keys that the operations of a branch may write, nested transactions included.
type writeSet struct {
	puts map[string]struct{}
	dels keyrange.Set
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
			if r := (keyrange.Range{Key: del.Key, End: del.RangeEnd}); !r.FromKey() {
				set.dels = append(set.dels, r)
			}
		}
	}
	set.dels = keyrange.NewSet(set.dels)

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
		if containsAny(set.dels, either) || intersect(set.puts, either) {
			return set, rpctypes.ErrGRPCDuplicateKey
		}
		set.puts = union(set.puts, either)
		set.dels = set.dels.Union(success.dels).Union(failure.dels)
	}
	for _, op := range ops {
		put := op.GetRequestPut()
		if put == nil {
			continue
		}
		if _, dup := set.puts[string(put.Key)]; dup || set.dels.Contains(put.Key) {
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

// containsAny reports whether set holds one of the keys.
func containsAny(set keyrange.Set, keys map[string]struct{}) bool {
	if len(set) == 0 {
		return false
	}
	for k := range keys {
		if set.Contains([]byte(k)) {
			return true
		}
	}
	return false
}
