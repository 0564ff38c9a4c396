package differential

import (
	"math"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// txnShape limits the operations of one transaction.
type txnShape struct {
	// reads allows only ranges.
	reads bool
	// ignore allows puts with ignore_value and ignore_lease, but no deletes: etcd panics if the same transaction
	// deleted the key before and etcd's check did not detect the overlap.
	ignore bool
	// spread gives every put a key of its own, so that most large transactions are valid.
	spread []int
}

func (g *generator) txn() *pb.TxnRequest {
	shape := &txnShape{reads: g.chance(15)}
	if !shape.reads {
		shape.ignore = g.chance(25)
		if g.chance(70) {
			shape.spread = g.Perm(len(g.keys))
		}
	}
	if g.chance(2) {
		return g.hugeTxn(shape)
	}
	return g.txnAt(0, shape)
}

func (g *generator) txnAt(depth int, shape *txnShape) *pb.TxnRequest {
	r := &pb.TxnRequest{}
	for range pick(g, 0, 1, 1, 1, 2, 3) {
		r.Compare = append(r.Compare, g.compare())
	}
	for range pick(g, 0, 1, 1, 2, 2, 3, 4) {
		r.Success = append(r.Success, g.op(depth, shape))
	}
	for range pick(g, 0, 0, 1, 1, 2, 3) {
		r.Failure = append(r.Failure, g.op(depth, shape))
	}
	return r
}

// hugeTxn returns a transaction with about 128 operations, which is the limit; nested ones count.
func (g *generator) hugeTxn(shape *txnShape) *pb.TxnRequest {
	size := pick(g, 127, 128, 129, 200)
	fill := func(n int) (ops []*pb.RequestOp) {
		for range n {
			ops = append(ops, &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: g.rangeRequest(1)}})
		}
		return ops
	}
	r := &pb.TxnRequest{}
	switch g.IntN(4) {
	case 0:
		r.Success = fill(size)
	case 1:
		r.Failure = fill(size)
	case 2:
		for range size {
			r.Compare = append(r.Compare, g.compare())
		}
	default:
		outer := 1 + g.IntN(127)
		inner := &pb.TxnRequest{Success: fill(size - outer)}
		r.Success = append(fill(outer-1), txnOp(inner))
	}
	if g.chance(30) {
		r.Failure = append(r.Failure, g.op(0, shape))
	}
	return r
}

func txnOp(r *pb.TxnRequest) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: r}}
}

func (g *generator) op(depth int, shape *txnShape) *pb.RequestOp {
	n := g.IntN(1000)
	switch {
	case n < 5:
		return &pb.RequestOp{}
	case n < 8:
		return nil
	case shape.reads || n < 330:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: g.rangeRequest(depth + 1)}}
	case n < 700 || shape.ignore && n < 850 || depth >= 3:
		put := g.put(shape.ignore)
		if len(shape.spread) > 0 {
			put.Key, shape.spread = g.keys[shape.spread[0]], shape.spread[1:]
		}
		return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: put}}
	case n < 850:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: g.txnDelete(shape)}}
	default:
		return txnOp(g.txnAt(depth+1, shape))
	}
}

// txnDelete often deletes one key of its own, because a wide range overlaps with most puts.
func (g *generator) txnDelete(shape *txnShape) *pb.DeleteRangeRequest {
	r := g.deleteRange()
	if len(shape.spread) > 0 && g.chance(70) {
		r.Key, shape.spread = g.keys[shape.spread[0]], shape.spread[1:]
		r.RangeEnd = nil
		if g.chance(30) {
			r.RangeEnd = append(append([]byte(nil), r.Key...), 0)
		}
	}
	return r
}

// compare returns any compare: targets and results out of range, unions unset or of another target, and ranges.
func (g *generator) compare() *pb.Compare {
	c := &pb.Compare{
		Result: pb.Compare_CompareResult(g.IntN(4)),
		Target: pb.Compare_CompareTarget(g.IntN(5)),
		Key:    g.key(),
	}
	if g.chance(30) {
		c.RangeEnd = g.end(c.Key)
	}
	union := c.Target
	if g.chance(3) {
		union = pb.Compare_CompareTarget(g.IntN(6))
	}
	if g.chance(1) {
		c.Target = pick[pb.Compare_CompareTarget](g, 5, -1, math.MaxInt32)
	}
	if g.chance(1) {
		c.Result = pick[pb.Compare_CompareResult](g, 4, -1, math.MinInt32)
	}
	revision := pick(g, 0, 0, g.retained(), g.retained(), g.current, -1)
	switch union {
	case pb.Compare_VERSION:
		c.TargetUnion = &pb.Compare_Version{Version: pick[int64](g, 0, 0, 1, 1, 2, 3, -1)}
	case pb.Compare_CREATE:
		c.TargetUnion = &pb.Compare_CreateRevision{CreateRevision: revision}
	case pb.Compare_MOD:
		c.TargetUnion = &pb.Compare_ModRevision{ModRevision: revision}
	case pb.Compare_VALUE:
		c.TargetUnion = &pb.Compare_Value{Value: g.value()}
	case pb.Compare_LEASE:
		c.TargetUnion = &pb.Compare_Lease{Lease: pick(g, append([]int64{0, 0, -1}, leases...)...)}
	}
	if g.chance(3) {
		c.TargetUnion = nil
	}
	return c
}

// mayReplace reports whether r may delete a key and put it again: etcd does not detect the overlap if the range of the
// delete has no end.
func mayReplace(r *pb.TxnRequest) bool {
	puts, deletes := false, false
	var visit func(ops []*pb.RequestOp)
	visit = func(ops []*pb.RequestOp) {
		for _, op := range ops {
			switch {
			case op.GetRequestPut() != nil:
				puts = true
			case op.GetRequestDeleteRange() != nil:
				end := op.GetRequestDeleteRange().RangeEnd
				deletes = deletes || len(end) == 1 && end[0] == 0
			case op.GetRequestTxn() != nil:
				visit(op.GetRequestTxn().Success)
				visit(op.GetRequestTxn().Failure)
			}
		}
	}
	visit(r.Success)
	visit(r.Failure)
	return puts && deletes
}
