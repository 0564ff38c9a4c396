package crash

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

// The key space is small, so that requests conflict. Leased and big keys are outside the ranges that clients read.
var (
	prefixes = []string{"a/", "b/", "c/"}
	names    = []string{"0", "1", "\x00\xfe", "\xff"}

	rangeStart, rangeEnd = []byte("a/"), []byte("c0")
	bigKeys              = []string{"big/0", "big/1"}
	leasePrefix          = "lease/"
)

// bigValue makes a revision of two puts and two prev_kv that exceeds a watch response, so that it is sent in fragments
// to clients that request them, and in one piece to all others.
const bigValue = 600 << 10

// generator makes the requests of one client. It remembers what the client read last, so that about half of the
// comparisons succeed.
type generator struct {
	client int
	rand   *rand.Rand
	seq    int
	// seen is the newest revision that the client knows.
	seen int64
	// compacted is the newest compact revision that any client knows.
	compacted int64
	known     map[string]*mvccpb.KeyValue
}

func newGenerator(client int, seed uint64) *generator {
	return &generator{
		client: client, rand: rand.New(rand.NewPCG(seed, uint64(client))), seen: 1,
		known: map[string]*mvccpb.KeyValue{},
	}
}

func (g *generator) key() []byte {
	return []byte(prefixes[g.rand.IntN(len(prefixes))] + names[g.rand.IntN(len(names))])
}

func (g *generator) prefix() (key, end []byte) {
	p := prefixes[g.rand.IntN(len(prefixes))]
	return []byte(p), prefixEnd(p)
}

func prefixEnd(p string) []byte {
	end := []byte(p)
	end[len(end)-1]++
	return end
}

// value returns a value that no other request of the run has.
func (g *generator) value() []byte {
	g.seq++
	v := fmt.Sprintf("c%d-%d", g.client, g.seq)
	if g.rand.IntN(20) == 0 {
		v += strings.Repeat(".", g.rand.IntN(4000))
	}
	return []byte(v)
}

// next returns the next request. compacted is the newest compact revision that a client knows, and compactTo the
// highest revision that may be compacted.
func (g *generator) next(compacted, compactTo int64) proto.Message {
	g.compacted = compacted
	switch n := g.rand.IntN(1000); {
	case n < 300:
		return &pb.PutRequest{Key: g.key(), Value: g.value(), PrevKv: g.rand.IntN(2) == 0}
	case n < 420:
		return &pb.RangeRequest{Key: g.key()}
	case n < 540:
		return g.rangeRequest()
	case n < 600:
		r := g.rangeRequest()
		r.Revision = g.revision()
		return r
	case n < 630:
		r := g.rangeRequest()
		r.Serializable = true
		return r
	case n < 690:
		return &pb.DeleteRangeRequest{Key: g.key(), PrevKv: g.rand.IntN(2) == 0}
	case n < 740:
		return g.deleteRange()
	case n < 743:
		// The target is often at the compact revision or below it, sometimes in the future.
		if target := compactTo - g.rand.Int64N(150); target >= 2 {
			return &pb.CompactionRequest{Revision: target}
		}
		return &pb.RangeRequest{Key: g.key()}
	case n < 746:
		return &pb.CompactionRequest{Revision: g.seen + 100_000}
	case n < 748:
		return g.bigTxn()
	default:
		return g.txn()
	}
}

// revision returns a revision to read at: often just below or at the compact revision, sometimes in the future.
func (g *generator) revision() int64 {
	if g.rand.IntN(3) == 0 {
		return max(1, g.compacted-g.rand.Int64N(5)+1)
	}
	return max(1, g.seen-g.rand.Int64N(200)+2)
}

func (g *generator) rangeRequest() *pb.RangeRequest {
	r := &pb.RangeRequest{}
	switch g.rand.IntN(4) {
	case 0:
		r.Key, r.RangeEnd = rangeStart, rangeEnd
	case 1:
		r.Key, r.RangeEnd = g.key(), rangeEnd
	default:
		r.Key, r.RangeEnd = g.prefix()
	}
	switch g.rand.IntN(6) {
	case 0:
		r.Limit = 1 + g.rand.Int64N(4)
	case 1:
		r.CountOnly = true
	case 2:
		r.KeysOnly = true
	case 3:
		r.SortOrder, r.Limit = pb.RangeRequest_DESCEND, g.rand.Int64N(4)
	}
	return r
}

func (g *generator) deleteRange() *pb.DeleteRangeRequest {
	r := &pb.DeleteRangeRequest{PrevKv: g.rand.IntN(2) == 0}
	r.Key, r.RangeEnd = g.prefix()
	return r
}

func (g *generator) bigTxn() *pb.TxnRequest {
	r := &pb.TxnRequest{}
	for _, key := range bigKeys {
		value := append(g.value(), bytes.Repeat([]byte{'x'}, bigValue)...)
		r.Success = append(r.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{
			RequestPut: &pb.PutRequest{Key: []byte(key), Value: value},
		}})
	}
	return r
}

// txn returns a transaction whose puts and deletes do not overlap: puts under one prefix, each key once, deletes under
// the others.
func (g *generator) txn() *pb.TxnRequest {
	order := g.rand.Perm(len(prefixes))
	keys := g.rand.Perm(len(names))
	ops := txnOps{g: g, putPrefix: prefixes[order[0]], deletePrefix: prefixes[order[1]], keys: keys}
	return ops.txn(2)
}

// txnOps generates the operations of one transaction.
type txnOps struct {
	g                       *generator
	putPrefix, deletePrefix string
	keys                    []int
}

func (o *txnOps) txn(depth int) *pb.TxnRequest {
	r := &pb.TxnRequest{}
	for range o.g.rand.IntN(3) {
		r.Compare = append(r.Compare, o.g.compare())
	}
	for range 1 + o.g.rand.IntN(4) {
		r.Success = append(r.Success, o.op(depth))
	}
	for range o.g.rand.IntN(3) {
		r.Failure = append(r.Failure, o.op(depth))
	}
	return r
}

func (o *txnOps) op(depth int) *pb.RequestOp {
	n := o.g.rand.IntN(10)
	switch {
	case n < 4 && len(o.keys) > 0:
		key := []byte(o.putPrefix + names[o.keys[0]])
		o.keys = o.keys[1:]
		return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{
			RequestPut: &pb.PutRequest{Key: key, Value: o.g.value(), PrevKv: o.g.rand.IntN(3) == 0},
		}}
	case n < 6:
		r := &pb.DeleteRangeRequest{Key: []byte(o.deletePrefix), RangeEnd: prefixEnd(o.deletePrefix)}
		if o.g.rand.IntN(2) == 0 {
			r.Key, r.RangeEnd = []byte(o.deletePrefix+names[o.g.rand.IntN(len(names))]), nil
		}
		r.PrevKv = o.g.rand.IntN(3) == 0
		return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: r}}
	case n < 8 && depth > 0:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: o.txn(depth - 1)}}
	default:
		r := o.g.rangeRequest()
		if o.g.rand.IntN(10) == 0 {
			r.Revision = o.g.revision()
		}
		return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: r}}
	}
}

func (g *generator) compare() *pb.Compare {
	key := g.key()
	kv := g.known[string(key)]
	if kv == nil {
		kv = &mvccpb.KeyValue{}
	}
	c := &pb.Compare{Key: key}
	switch n := g.rand.IntN(10); {
	case n < 6:
		c.Result = pb.Compare_EQUAL
	case n < 8:
		c.Result = pb.Compare_NOT_EQUAL
	case n < 9:
		c.Result = pb.Compare_GREATER
	default:
		c.Result = pb.Compare_LESS
	}
	switch g.rand.IntN(6) {
	case 0, 1:
		c.Target, c.TargetUnion = pb.Compare_MOD, &pb.Compare_ModRevision{ModRevision: kv.ModRevision}
	case 2:
		c.Target, c.TargetUnion = pb.Compare_VERSION, &pb.Compare_Version{Version: kv.Version}
	case 3:
		c.Target, c.TargetUnion = pb.Compare_CREATE, &pb.Compare_CreateRevision{CreateRevision: kv.CreateRevision}
	case 4:
		c.Target, c.TargetUnion = pb.Compare_VALUE, &pb.Compare_Value{Value: kv.Value}
	default:
		// Every key of the range was changed before, or the range is empty.
		c.RangeEnd = prefixEnd(string(key[:2]))
		c.Target, c.TargetUnion = pb.Compare_MOD, &pb.Compare_ModRevision{ModRevision: max(1, g.seen-g.rand.Int64N(20))}
		c.Result = pb.Compare_LESS
	}
	return c
}

// learn remembers the content of an answer.
func (g *generator) learn(response proto.Message) {
	g.seen = max(g.seen, revision(response))
	if r, ok := response.(*pb.RangeResponse); ok {
		for _, kv := range r.Kvs {
			g.known[string(kv.Key)] = kv
		}
	}
}
