package differential

import (
	"math"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// watchCreate returns a creation with any options, on a stream that already uses the given IDs.
func (g *generator) watchCreate(used []int64) *pb.WatchCreateRequest {
	r := &pb.WatchCreateRequest{
		PrevKv:         g.chance(40),
		ProgressNotify: g.chance(20),
		Fragment:       g.chance(20),
	}
	r.Key, r.RangeEnd = g.keyRange()
	if g.chance(20) {
		r.Key, r.RangeEnd = []byte{0}, []byte{0}
	}
	switch n := g.IntN(100); {
	case n < 35:
	case n < 75:
		r.StartRevision = g.retained()
	case n < 85:
		r.StartRevision = g.current + g.Int64N(30)
	case n < 87:
		r.StartRevision = pick[int64](g, -1, math.MinInt64)
	case n < 88:
		r.StartRevision = math.MaxInt64
	case n < 94:
		r.StartRevision = max(g.compacted, 0)
	default:
		r.StartRevision = max(g.compacted-1-g.Int64N(5), 1)
	}
	for _, filter := range []pb.WatchCreateRequest_FilterType{
		pb.WatchCreateRequest_NOPUT, pb.WatchCreateRequest_NODELETE, 7,
	} {
		if g.chance(12) {
			r.Filters = append(r.Filters, filter)
		}
	}
	switch n := g.IntN(100); {
	case n < 60:
	case n < 85:
		r.WatchId = pick[int64](g, 1, 2, 3, 5, 8, 100, math.MaxInt64, -2, math.MinInt64)
	case len(used) > 0:
		r.WatchId = pick(g, used...)
	}
	return r
}

// write returns a request that may change something.
func (g *generator) write() request {
	switch n := g.IntN(100); {
	case n < 50:
		return request{message: g.put(true)}
	case n < 65:
		return request{message: g.deleteRange()}
	default:
		return request{message: g.txn()}
	}
}
