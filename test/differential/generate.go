package differential

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// generator makes requests. They depend only on the seed and on the revisions that it has learned.
type generator struct {
	*rand.Rand
	// keys are the keys that requests use.
	keys [][]byte
	// current and compacted are the revisions of both servers.
	current, compacted int64
	// replaced are the revisions in which a key was deleted and put again: see the deliberate differences.
	replaced map[int64]bool
	// compactions are the revisions of all successful compactions: etcd keeps the hashes of the last ten for HashKV.
	compactions map[int64]bool
}

func newGenerator(seed uint64) *generator {
	g := &generator{
		Rand:        rand.New(rand.NewPCG(seed, 0)),
		keys:        fewKeys,
		current:     1,
		compactions: map[int64]bool{},
		replaced:    map[int64]bool{},
	}
	if seed%4 == 0 {
		// With hundreds of keys, a stream has several chunks, and sorting is no longer stable.
		g.keys = slices.Clone(fewKeys)
		for i := range 400 {
			g.keys = append(g.keys, fmt.Appendf(nil, "%c/%d", 'a'+i%3, i*7%977))
		}
	}
	return g
}

// fewKeys are so few that requests conflict, and close to each other in every way that can be mishandled: prefixes of
// one another, neighbours, with NUL and 0xff, invalid UTF-8, long ones.
var fewKeys = [][]byte{
	[]byte("a"), []byte("a\x00"), []byte("a\x00b"), []byte("aa"), []byte("ab"), []byte("a\xff"), []byte("a\xff\xff"),
	[]byte("b"), []byte("b/1"), []byte("b/10"), []byte("b/2"), []byte("c\xc3\x28"), []byte("\x00"), []byte("\x00\x00"),
	[]byte("\xff"), []byte("\xff\xff"), []byte("\xfe\xff"), []byte("z'\";--%_\\\n"), []byte("Z"), []byte("ä"),
}

// many reports whether there are hundreds of keys. If so, few requests may delete more than one.
func (g *generator) many() bool { return len(g.keys) > len(fewKeys) }

// fill returns the first requests: puts of most keys if there are many.
func (g *generator) fill() (list []request) {
	if !g.many() {
		return nil
	}
	for keys := range slices.Chunk(g.keys, 100) {
		r := &pb.TxnRequest{}
		for _, key := range keys {
			op := &pb.PutRequest{Key: key, Value: g.value()}
			r.Success = append(r.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: op}})
		}
		list = append(list, request{message: r})
	}
	return list
}

// chance returns true with a probability of p percent.
func (g *generator) chance(p int) bool { return g.IntN(100) < p }

func pick[T any](g *generator, of ...T) T { return of[g.IntN(len(of))] }

// next returns a request of any kind.
func (g *generator) next() request {
	switch n := g.IntN(1000); {
	case n < 270:
		return request{message: g.rangeRequest(0)}
	case n < 330:
		return request{message: g.rangeRequest(0), stream: true}
	case n < 560:
		return request{message: g.put(true)}
	case n < 650:
		return request{message: g.deleteRange()}
	case n < 940:
		return request{message: g.txn()}
	case n < 965:
		return request{message: g.compact()}
	case n < 990:
		return request{message: g.hashKV()}
	default:
		return request{message: g.leaseGrant()}
	}
}

func (g *generator) key() []byte {
	if g.chance(1) {
		return nil
	}
	return pick(g, g.keys...)
}

// end returns a range end for key, of any kind.
func (g *generator) end(key []byte) []byte {
	switch n := g.IntN(100); {
	case n < 35:
		return nil
	case n < 50:
		return []byte{0}
	case n < 65:
		return prefixEnd(key)
	case n < 70:
		return key
	case n < 75:
		return append(append([]byte(nil), key...), 0)
	default:
		return pick(g, g.keys...)
	}
}

// keyRange returns a key and a range end; sometimes both are NUL: all keys.
func (g *generator) keyRange() (key, end []byte) {
	if g.chance(15) {
		return []byte{0}, []byte{0}
	}
	key = g.key()
	return key, g.end(key)
}

// prefixEnd returns the end of the range of all keys with a prefix.
func prefixEnd(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			end := append([]byte(nil), prefix[:i+1]...)
			end[i]++
			return end
		}
	}
	return []byte{0}
}

func (g *generator) value() []byte {
	switch n := g.IntN(100); {
	case n < 10:
		return nil
	case n < 20:
		return []byte{0, 0xff, byte(n)}
	case n < 22:
		return make([]byte, g.IntN(20000))
	default:
		return fmt.Appendf(nil, "v%d", g.IntN(6))
	}
}

// revision returns 0 in most cases, otherwise a revision near a boundary.
func (g *generator) revision() int64 {
	if g.chance(55) {
		return 0
	}
	return g.someRevision()
}

func (g *generator) someRevision() int64 {
	switch n := g.IntN(100); {
	case n < 55:
		return g.retained()
	case n < 65:
		return g.current
	case n < 70:
		return g.current + 1
	case n < 73:
		return pick(g, g.current+100, math.MaxInt64, math.MaxInt64-1)
	case n < 80:
		return g.compacted
	case n < 87:
		return g.compacted - 1
	case n < 92:
		return g.compacted + 1
	case n < 94:
		return 1
	default:
		return pick[int64](g, -1, -2, -7, math.MinInt64, 1)
	}
}

// retained returns a revision that can be read.
func (g *generator) retained() int64 {
	low := max(g.compacted, 1)
	return low + g.Int64N(g.current-low+1)
}

func (g *generator) limit() int64 {
	if g.chance(50) {
		return 0
	}
	return pick[int64](g, 1, 1, 2, 3, 4, 7, 15, 100, -1, -3, math.MaxInt64, math.MinInt64, math.MaxInt32)
}

// rangeRequest returns a range with any options. Inside a txn (depth > 0) revisions are mostly unset, because an
// invalid one fails the whole txn.
func (g *generator) rangeRequest(depth int) *pb.RangeRequest {
	r := &pb.RangeRequest{Limit: g.limit(), Serializable: g.chance(15)}
	r.Key, r.RangeEnd = g.keyRange()
	if depth == 0 || g.chance(20) {
		r.Revision = g.revision()
	}
	r.KeysOnly = g.chance(12)
	r.CountOnly = g.chance(12)
	if g.chance(30) {
		r.SortTarget = pb.RangeRequest_SortTarget(g.IntN(5))
	}
	if g.chance(30) {
		r.SortOrder = pb.RangeRequest_SortOrder(g.IntN(3))
	}
	if g.chance(1) {
		r.SortTarget = pick[pb.RangeRequest_SortTarget](g, 5, -1, math.MaxInt32)
	}
	if g.chance(1) {
		r.SortOrder = pick[pb.RangeRequest_SortOrder](g, 3, -1, math.MinInt32)
	}
	for _, filter := range []*int64{&r.MinModRevision, &r.MaxModRevision, &r.MinCreateRevision, &r.MaxCreateRevision} {
		if g.chance(8) {
			*filter = g.someRevision()
		}
	}
	return r
}

// put returns a put with any options; those that require an existing key only if ignore is true.
func (g *generator) put(ignore bool) *pb.PutRequest {
	r := &pb.PutRequest{Key: g.key(), Value: g.value(), PrevKv: g.chance(30)}
	if ignore && g.chance(10) {
		r.IgnoreValue = true
		if g.chance(80) {
			r.Value = nil
		}
	}
	if ignore && g.chance(10) {
		r.IgnoreLease = true
	}
	if g.chance(15) && (!r.IgnoreLease || g.chance(20)) {
		r.Lease = pick(g, leases...)
	}
	if g.chance(2) {
		// None of them is a valid TTL, so that both lease modes refuse it as an unknown lease.
		r.Lease = pick[int64](g, -1, math.MinInt64, 9_000_000_001, math.MaxInt64)
	}
	return r
}

func (g *generator) deleteRange() *pb.DeleteRangeRequest {
	r := &pb.DeleteRangeRequest{PrevKv: g.chance(40)}
	r.Key, r.RangeEnd = g.keyRange()
	if g.chance(50) || g.many() && g.chance(95) {
		r.RangeEnd = nil
	}
	if g.chance(1) {
		r.Key = nil
	}
	return r
}

func (g *generator) compact() *pb.CompactionRequest {
	r := &pb.CompactionRequest{Physical: g.chance(50)}
	switch n := g.IntN(100); {
	case n < 35:
		r.Revision = g.retained()
	case n < 60:
		// Compactions advance in small steps, so that history remains for the other requests.
		r.Revision = min(max(g.compacted, 0)+1+g.Int64N(20), g.current)
	case n < 65:
		r.Revision = g.current
	case n < 69:
		r.Revision = g.current + 1 + g.Int64N(3)
	default:
		r.Revision = g.someRevision()
	}
	if g.replaced[r.Revision] {
		r.Revision = g.compacted
	}
	return r
}

// hashKV avoids the revisions of compactions and of replacements: see the deliberate differences.
func (g *generator) hashKV() *pb.HashKVRequest {
	r := &pb.HashKVRequest{Revision: g.revision()}
	hashed := r.Revision
	if hashed == 0 {
		hashed = g.current
	}
	if g.compactions[r.Revision] || g.replaced[hashed] || r.Revision < 0 {
		r.Revision = g.current + 1
	}
	return r
}

// leases exist on both servers and outlast every run. In lease mode ttl the ID must be the TTL.
var leases = []int64{1_000_000, 2_000_000, 9_000_000_000}

// leaseGrant returns a grant that both lease modes refuse.
func (g *generator) leaseGrant() *pb.LeaseGrantRequest {
	return &pb.LeaseGrantRequest{TTL: pick[int64](g, 9_000_000_001, math.MaxInt64)}
}
