package semantics

import (
	"fmt"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
)

func TestTxn(t *testing.T) { onBoth(t, txnRules) }

const (
	equalTo  = pb.Compare_EQUAL
	greater  = pb.Compare_GREATER
	less     = pb.Compare_LESS
	notEqual = pb.Compare_NOT_EQUAL
)

// holds reports whether one compare succeeds.
func (e *env) holds(c *pb.Compare) bool {
	e.Helper()
	return e.txn(&pb.TxnRequest{Compare: []*pb.Compare{c}}).Succeeded
}

// txnRefused checks that a txn fails as a whole, also as the taken branch of a nested one.
func txnRefused(e *env, code codes.Code, message string, ops ...*pb.RequestOp) {
	e.Helper()
	for _, r := range []*pb.TxnRequest{
		{Success: ops},
		{Compare: []*pb.Compare{version(e.key("missing"), greater, 0)}, Failure: ops},
		{Success: []*pb.RequestOp{txnOp(&pb.TxnRequest{Success: ops})}},
	} {
		refused(e, code, message, func() (*pb.TxnResponse, error) { return e.KV.Txn(e.ctx, r) })
	}
}

// repeat returns n operations without effect.
func (e *env) repeat(n int) (ops []*pb.RequestOp) {
	for range n {
		ops = append(ops, rangeOf(e.key("k")))
	}
	return ops
}

func rangeOf(key []byte) *pb.RequestOp { return rangeOp(&pb.RangeRequest{Key: key}) }

const (
	duplicateKey = "etcdserver: duplicate key given in txn request"
	tooManyOps   = "etcdserver: too many operations in txn request"
)

var txnRules = []rule{
	{"every target and result", func(e *env) {
		created := e.put("k", "m").Header.Revision
		modified := e.put("k", "m").Header.Revision
		k := e.key("k")
		for target, c := range map[pb.Compare_CompareTarget]func(d int64) *pb.Compare{
			pb.Compare_VERSION: func(d int64) *pb.Compare {
				return &pb.Compare{TargetUnion: &pb.Compare_Version{Version: 2 + d}}
			},
			pb.Compare_CREATE: func(d int64) *pb.Compare {
				return &pb.Compare{TargetUnion: &pb.Compare_CreateRevision{CreateRevision: created + d}}
			},
			pb.Compare_MOD: func(d int64) *pb.Compare {
				return &pb.Compare{TargetUnion: &pb.Compare_ModRevision{ModRevision: modified + d}}
			},
			pb.Compare_LEASE: func(d int64) *pb.Compare {
				return &pb.Compare{TargetUnion: &pb.Compare_Lease{Lease: d}}
			},
			pb.Compare_VALUE: func(d int64) *pb.Compare {
				return &pb.Compare{TargetUnion: &pb.Compare_Value{Value: []byte{byte('m' + d)}}}
			},
		} {
			for _, d := range []int64{-1, 0, 1} {
				for result, want := range map[pb.Compare_CompareResult]bool{
					equalTo: d == 0, notEqual: d != 0, greater: d < 0, less: d > 0,
				} {
					compare := c(d)
					compare.Key, compare.Target, compare.Result = k, target, result
					equal(e, fmt.Sprintf("%v %v with a difference of %d", target, result, d), e.holds(compare), want)
				}
			}
		}
	}},
	{"a missing key compares as zeros", func(e *env) {
		k := e.key("missing")
		equal(e, "version", e.holds(version(k, equalTo, 0)), true)
		equal(e, "create",
			e.holds(&pb.Compare{Key: k, Target: pb.Compare_CREATE, TargetUnion: &pb.Compare_CreateRevision{}}), true)
		equal(e, "mod",
			e.holds(&pb.Compare{Key: k, Target: pb.Compare_MOD, TargetUnion: &pb.Compare_ModRevision{}}), true)
		equal(e, "lease",
			e.holds(&pb.Compare{Key: k, Target: pb.Compare_LEASE, TargetUnion: &pb.Compare_Lease{}}), true)
		equal(e, "version greater than -1", e.holds(version(k, greater, -1)), true)
	}},
	{"a VALUE compare on a missing key is false", func(e *env) {
		for _, result := range []pb.Compare_CompareResult{equalTo, greater, less, notEqual} {
			equal(e, result.String(), e.holds(value(e.key("missing"), result, "")), false)
		}
	}},
	{"a compare with range_end must hold for every key", func(e *env) {
		e.put("a", "")
		e.put("b", "")
		c := version(e.key("a"), equalTo, 1)
		c.RangeEnd = e.key("c")
		equal(e, "all at version 1", e.holds(c), true)
		e.put("b", "")
		equal(e, "one at version 2", e.holds(c), false)
	}},
	{"an empty range compares as a missing key", func(e *env) {
		c := version(e.key("a"), equalTo, 0)
		c.RangeEnd = e.key("c")
		equal(e, "version", e.holds(c), true)
		v := value(e.key("a"), notEqual, "x")
		v.RangeEnd = e.key("c")
		equal(e, "value", e.holds(v), false)
	}},
	{"an unset union is 0", func(e *env) {
		e.put("k", "")
		equal(e, "version greater",
			e.holds(&pb.Compare{Key: e.key("k"), Target: pb.Compare_VERSION, Result: greater}), true)
		equal(e, "value equal", e.holds(&pb.Compare{Key: e.key("k"), Target: pb.Compare_VALUE}), true)
		equal(e, "the union of another target", e.holds(&pb.Compare{
			Key: e.key("k"), Target: pb.Compare_VERSION, Result: greater,
			TargetUnion: &pb.Compare_ModRevision{ModRevision: 1000000},
		}), true)
	}},
	{"a target out of range is equal and a result out of range is true", func(e *env) {
		e.put("k", "")
		equal(e, "target equal", e.holds(&pb.Compare{Key: e.key("k"), Target: 9, Result: equalTo}), true)
		equal(e, "target greater", e.holds(&pb.Compare{Key: e.key("k"), Target: 9, Result: greater}), false)
		equal(e, "result", e.holds(&pb.Compare{Key: e.key("k"), Result: 9}), true)
	}},
	{"compares of nested txns see the state before the txn", func(e *env) {
		inner := &pb.TxnRequest{
			Compare: []*pb.Compare{version(e.key("k"), equalTo, 0)},
			Success: []*pb.RequestOp{putOp(e.key("then"), "")},
			Failure: []*pb.RequestOp{putOp(e.key("else"), "")},
		}
		a := e.txn(&pb.TxnRequest{Success: []*pb.RequestOp{putOp(e.key("k"), ""), txnOp(inner)}})
		equal(e, "nested txn succeeded", a.Responses[1].GetResponseTxn().Succeeded, true)
		equal(e, "keys", e.names(e.rangeOf(e.everything()).Kvs), "k then")
	}},
	{"ranges see the txn's own earlier writes", func(e *env) {
		a := e.txn(&pb.TxnRequest{Success: []*pb.RequestOp{
			rangeOf(e.key("k")), putOp(e.key("k"), "v"), rangeOf(e.key("k")),
			txnOp(&pb.TxnRequest{Success: []*pb.RequestOp{rangeOf(e.key("k"))}}),
		}})
		equal(e, "before", len(a.Responses[0].GetResponseRange().Kvs), 0)
		kv := a.Responses[2].GetResponseRange().Kvs[0]
		equal(e, "after", string(kv.Value), "v")
		equal(e, "mod revision", kv.ModRevision, a.Header.Revision)
		equal(e, "nested", len(a.Responses[3].GetResponseTxn().Responses[0].GetResponseRange().Kvs), 1)
	}},
	{"a range at a revision does not see the txn's own writes", func(e *env) {
		past := e.put("k", "1").Header.Revision
		a := e.txn(&pb.TxnRequest{Success: []*pb.RequestOp{
			putOp(e.key("k"), "2"), rangeOp(&pb.RangeRequest{Key: e.key("k"), Revision: past}),
		}})
		equal(e, "value", string(a.Responses[1].GetResponseRange().Kvs[0].Value), "1")
	}},
	{"all writes share one mod revision", func(e *env) {
		a := e.txn(&pb.TxnRequest{Success: []*pb.RequestOp{
			putOp(e.key("a"), ""), txnOp(&pb.TxnRequest{Success: []*pb.RequestOp{putOp(e.key("b"), "")}}),
		}})
		for _, kv := range e.rangeOf(e.everything()).Kvs {
			equal(e, string(kv.Key), kv.ModRevision, a.Header.Revision)
		}
	}},
	{"success or failure", func(e *env) {
		r := &pb.TxnRequest{
			Compare: []*pb.Compare{version(e.key("k"), equalTo, 0)},
			Success: []*pb.RequestOp{putOp(e.key("k"), "then")},
			Failure: []*pb.RequestOp{putOp(e.key("k"), "else")},
		}
		equal(e, "first", e.txn(r).Succeeded, true)
		equal(e, "second", e.txn(r).Succeeded, false)
		equal(e, "value", string(e.get("k").Value), "else")
	}},
	{"128 operations are not too many", func(e *env) {
		equal(e, "operations", len(e.txn(&pb.TxnRequest{Success: e.repeat(128)}).Responses), 128)
		refused(e, codes.InvalidArgument, tooManyOps, func() (*pb.TxnResponse, error) {
			return e.KV.Txn(e.ctx, &pb.TxnRequest{Success: e.repeat(129)})
		})
		refused(e, codes.InvalidArgument, tooManyOps, func() (*pb.TxnResponse, error) {
			return e.KV.Txn(e.ctx, &pb.TxnRequest{Failure: e.repeat(129)})
		})
		compares := make([]*pb.Compare, 129)
		for i := range compares {
			compares[i] = version(e.key("k"), equalTo, 0)
		}
		equal(e, "128 compares", e.txn(&pb.TxnRequest{Compare: compares[:128]}).Succeeded, true)
		refused(e, codes.InvalidArgument, tooManyOps, func() (*pb.TxnResponse, error) {
			return e.KV.Txn(e.ctx, &pb.TxnRequest{Compare: compares})
		})
	}},
	{"nesting uses up the same budget", func(e *env) {
		nested := func(outer, inner int) *pb.TxnRequest {
			return &pb.TxnRequest{Success: append(e.repeat(outer-1), txnOp(&pb.TxnRequest{Success: e.repeat(inner)}))}
		}
		e.txn(nested(100, 28))
		refused(e, codes.InvalidArgument, tooManyOps, func() (*pb.TxnResponse, error) {
			return e.KV.Txn(e.ctx, nested(100, 29))
		})
	}},
	{"two puts of a key are refused", func(e *env) {
		txnRefused(e, codes.InvalidArgument, duplicateKey, putOp(e.key("k"), "1"), putOp(e.key("k"), "2"))
	}},
	{"a put in a deleted range is refused", func(e *env) {
		txnRefused(e, codes.InvalidArgument, duplicateKey, putOp(e.key("b"), "1"), deleteOp(e.key("a"), e.key("c")))
		txnRefused(e, codes.InvalidArgument, duplicateKey, deleteOp(e.key("b"), nil), putOp(e.key("b"), "1"))
	}},
	{"a nested put of a key that is put is refused", func(e *env) {
		inner := []*pb.RequestOp{putOp(e.key("k"), "2")}
		txnRefused(e, codes.InvalidArgument, duplicateKey, putOp(e.key("k"), "1"),
			txnOp(&pb.TxnRequest{Success: inner}))
		txnRefused(e, codes.InvalidArgument, duplicateKey, putOp(e.key("k"), "1"),
			txnOp(&pb.TxnRequest{Failure: inner}))
		txnRefused(e, codes.InvalidArgument, duplicateKey, txnOp(&pb.TxnRequest{Success: inner}),
			txnOp(&pb.TxnRequest{Failure: inner}))
	}},
	{"then and else of one nested txn may put the same key", func(e *env) {
		ops := []*pb.RequestOp{putOp(e.key("k"), "")}
		e.txn(&pb.TxnRequest{Success: []*pb.RequestOp{txnOp(&pb.TxnRequest{Success: ops, Failure: ops})}})
		e.txn(&pb.TxnRequest{Success: ops, Failure: ops})
	}},
	{"duplicates in the branch not taken are refused", func(e *env) {
		refused(e, codes.InvalidArgument, duplicateKey, func() (*pb.TxnResponse, error) {
			return e.KV.Txn(e.ctx, &pb.TxnRequest{
				Failure: []*pb.RequestOp{putOp(e.key("k"), "1"), putOp(e.key("k"), "2")},
			})
		})
	}},
	{"two deletes of a key are fine", func(e *env) {
		e.put("k", "")
		a := e.txn(&pb.TxnRequest{Success: []*pb.RequestOp{deleteOp(e.key("k"), nil), deleteOp(e.key("k"), e.end())}})
		equal(e, "first", a.Responses[0].GetResponseDeleteRange().Deleted, 1)
		equal(e, "second", a.Responses[1].GetResponseDeleteRange().Deleted, 0)
	}},
	{"a nil operation is refused", func(e *env) {
		txnRefused(e, codes.InvalidArgument, "etcdserver: key not found", &pb.RequestOp{})
		txnRefused(e, codes.InvalidArgument, "etcdserver: key not found", putOp(e.key("k"), ""), nil)
	}},
	{"empty keys are refused", func(e *env) {
		const message = "etcdserver: key is not provided"
		txnRefused(e, codes.InvalidArgument, message, putOp(nil, "v"))
		txnRefused(e, codes.InvalidArgument, message, deleteOp(nil, []byte{0}))
		txnRefused(e, codes.InvalidArgument, message, rangeOf(nil))
		refused(e, codes.InvalidArgument, message, func() (*pb.TxnResponse, error) {
			return e.KV.Txn(e.ctx, &pb.TxnRequest{Compare: []*pb.Compare{version(nil, equalTo, 0)}})
		})
		refused(e, codes.InvalidArgument, message, func() (*pb.TxnResponse, error) {
			return e.KV.Txn(e.ctx, &pb.TxnRequest{Failure: []*pb.RequestOp{putOp(nil, "not taken")}})
		})
	}},
	{"a put checks its lease only in the branch taken", func(e *env) {
		bad := &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: e.key("k"), Lease: -1}}}
		e.txn(&pb.TxnRequest{Success: []*pb.RequestOp{putOp(e.key("a"), "")}, Failure: []*pb.RequestOp{bad}})
		txnRefused(e, codes.NotFound, "etcdserver: requested lease not found", putOp(e.key("b"), ""), bad)
		equal(e, "keys", e.names(e.rangeOf(e.everything()).Kvs), "a")
	}},
	{"a failing range fails the whole txn", func(e *env) {
		txnRefused(e, codes.OutOfRange, "etcdserver: mvcc: required revision is a future revision",
			putOp(e.key("k"), ""), rangeOp(&pb.RangeRequest{Key: e.key("k"), Revision: 1 << 40}))
		equal(e, "nothing was written", e.get("k") == nil, true)
	}},
	{"ignore_value needs a key from before the txn", func(e *env) {
		txnRefused(e, codes.InvalidArgument, "etcdserver: key not found",
			&pb.RequestOp{
				Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: e.key("k"), IgnoreValue: true}},
			})
	}},
	{"a serializable read-only txn", func(e *env) {
		e.put("k", "v")
		a := e.txn(&pb.TxnRequest{
			Success: []*pb.RequestOp{rangeOp(&pb.RangeRequest{Key: e.key("k"), Serializable: true})},
		})
		equal(e, "value", string(a.Responses[0].GetResponseRange().Kvs[0].Value), "v")
	}},
	{"prev_kv inside a txn belongs to the operation", func(e *env) {
		e.put("k", "1")
		a := e.txn(&pb.TxnRequest{Success: []*pb.RequestOp{
			{Request: &pb.RequestOp_RequestPut{
				RequestPut: &pb.PutRequest{Key: e.key("k"), Value: []byte("2"), PrevKv: true},
			}},
			rangeOf(e.key("k")),
		}})
		equal(e, "previous value", string(a.Responses[0].GetResponsePut().PrevKv.Value), "1")
		equal(e, "value", string(a.Responses[1].GetResponseRange().Kvs[0].Value), "2")
	}},
}
