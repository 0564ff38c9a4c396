package server

import (
	"bytes"
	"context"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// call sends a request of any kind to the service.
func call(ctx context.Context, kv pb.KVServer, req any) (any, error) {
	switch r := req.(type) {
	case *pb.RangeRequest:
		return kv.Range(ctx, r)
	case *pb.PutRequest:
		return kv.Put(ctx, r)
	case *pb.DeleteRangeRequest:
		return kv.DeleteRange(ctx, r)
	case *pb.TxnRequest:
		return kv.Txn(ctx, r)
	case *pb.CompactionRequest:
		return kv.Compact(ctx, r)
	}
	panic("not a request")
}

func many(n int, r any) []*pb.RequestOp {
	ops := make([]*pb.RequestOp, n)
	for i := range ops {
		ops[i] = opOf(r)
	}
	return ops
}

// nest wraps ops in depth transactions of one operation each.
func nest(depth int, ops ...*pb.RequestOp) *pb.TxnRequest {
	txn := &pb.TxnRequest{Success: ops}
	for range depth {
		txn = &pb.TxnRequest{Success: opsOf(txn)}
	}
	return txn
}

var key = []byte("k")

func TestInvalidRequestsAreRefused(t *testing.T) {
	get := &pb.RangeRequest{Key: key}
	compare := &pb.Compare{Key: key}
	huge := make([]byte, DefaultMaxRequestBytes)
	kv := newKV(t)
	before := put(t, kv, "x", "y").Header.Revision
	for name, c := range map[string]struct {
		req  any
		want error
	}{
		"range: no key":              {&pb.RangeRequest{}, rpctypes.ErrGRPCEmptyKey},
		"range: no key, wrong sort":  {&pb.RangeRequest{SortOrder: 9}, rpctypes.ErrGRPCEmptyKey},
		"range: order too high":      {&pb.RangeRequest{Key: key, SortOrder: 3}, rpctypes.ErrGRPCInvalidSortOption},
		"range: order negative":      {&pb.RangeRequest{Key: key, SortOrder: -1}, rpctypes.ErrGRPCInvalidSortOption},
		"range: target too high":     {&pb.RangeRequest{Key: key, SortTarget: 5}, rpctypes.ErrGRPCInvalidSortOption},
		"range: target negative":     {&pb.RangeRequest{Key: key, SortTarget: -1}, rpctypes.ErrGRPCInvalidSortOption},
		"range: wraps around a byte": {&pb.RangeRequest{Key: key, SortTarget: 256}, rpctypes.ErrGRPCInvalidSortOption},
		"range: future":              {&pb.RangeRequest{Key: key, Revision: 999}, rpctypes.ErrGRPCFutureRev},

		"put: no key":                {&pb.PutRequest{}, rpctypes.ErrGRPCEmptyKey},
		"put: no key, value ignored": {&pb.PutRequest{IgnoreValue: true, Value: key}, rpctypes.ErrGRPCEmptyKey},
		"put: value provided": {&pb.PutRequest{Key: key, IgnoreValue: true, Value: key},
			rpctypes.ErrGRPCValueProvided},
		"put: value and lease provided": {&pb.PutRequest{Key: key, IgnoreValue: true, Value: key, IgnoreLease: true,
			Lease: 1}, rpctypes.ErrGRPCValueProvided},
		"put: lease provided": {&pb.PutRequest{Key: key, IgnoreLease: true, Lease: 1},
			rpctypes.ErrGRPCLeaseProvided},
		"put: ignored value of no key": {&pb.PutRequest{Key: []byte("absent"), IgnoreValue: true},
			rpctypes.ErrGRPCKeyNotFound},
		"put: ignored lease of no key": {&pb.PutRequest{Key: []byte("absent"), IgnoreLease: true},
			rpctypes.ErrGRPCKeyNotFound},
		"put: lease that cannot be a TTL": {&pb.PutRequest{Key: key, Lease: -1}, rpctypes.ErrGRPCLeaseNotFound},
		"put: too large":                  {&pb.PutRequest{Key: key, Value: huge}, rpctypes.ErrGRPCRequestTooLarge},
		"put: too large, value ignored": {&pb.PutRequest{Key: key, Value: huge, IgnoreValue: true},
			rpctypes.ErrGRPCValueProvided},
		"put: too large, lease is unknown": {&pb.PutRequest{Key: key, Value: huge, Lease: -1},
			rpctypes.ErrGRPCRequestTooLarge},
		"put: large key": {&pb.PutRequest{Key: huge}, rpctypes.ErrGRPCRequestTooLarge},

		"delete: no key":    {&pb.DeleteRangeRequest{}, rpctypes.ErrGRPCEmptyKey},
		"delete: only end":  {&pb.DeleteRangeRequest{RangeEnd: key}, rpctypes.ErrGRPCEmptyKey},
		"delete: too large": {&pb.DeleteRangeRequest{Key: huge}, rpctypes.ErrGRPCRequestTooLarge},

		"txn: unset operation":            {&pb.TxnRequest{Success: opsOf(nil)}, rpctypes.ErrGRPCKeyNotFound},
		"txn: unset operation, not taken": {&pb.TxnRequest{Failure: opsOf(nil)}, rpctypes.ErrGRPCKeyNotFound},
		"txn: compare without key":        {&pb.TxnRequest{Compare: []*pb.Compare{{}}}, rpctypes.ErrGRPCEmptyKey},
		"txn: put without key": {&pb.TxnRequest{Success: opsOf(&pb.PutRequest{})},
			rpctypes.ErrGRPCEmptyKey},
		"txn: range without key, not taken": {&pb.TxnRequest{Failure: opsOf(&pb.RangeRequest{})},
			rpctypes.ErrGRPCEmptyKey},
		"txn: bad sort": {&pb.TxnRequest{Success: opsOf(&pb.RangeRequest{Key: key,
			SortTarget: 7})}, rpctypes.ErrGRPCInvalidSortOption},
		"txn: delete without key": {&pb.TxnRequest{Success: opsOf(&pb.DeleteRangeRequest{})},
			rpctypes.ErrGRPCEmptyKey},
		"txn: value provided": {&pb.TxnRequest{Success: opsOf(&pb.PutRequest{Key: key, Value: key,
			IgnoreValue: true})}, rpctypes.ErrGRPCValueProvided},
		"txn: nested compare without key": {nest(3, opOf(&pb.TxnRequest{Compare: []*pb.Compare{{}}})),
			rpctypes.ErrGRPCEmptyKey},
		"txn: 129 operations":            {&pb.TxnRequest{Success: many(129, get)}, rpctypes.ErrGRPCTooManyOps},
		"txn: 129 operations, not taken": {&pb.TxnRequest{Failure: many(129, get)}, rpctypes.ErrGRPCTooManyOps},
		"txn: 129 compares": {&pb.TxnRequest{Compare: slicesOf(129, compare)},
			rpctypes.ErrGRPCTooManyOps},
		"txn: budget before keys": {&pb.TxnRequest{Compare: []*pb.Compare{{}}, Success: many(129, get)},
			rpctypes.ErrGRPCTooManyOps},
		"txn: nested beyond the budget": {&pb.TxnRequest{Success: append(many(127, get),
			opOf(&pb.TxnRequest{Success: many(1, get)}))}, rpctypes.ErrGRPCTooManyOps},
		"txn: deep beyond the budget": {nest(128, opOf(get)), rpctypes.ErrGRPCTooManyOps},
		"txn: compares use up the budget": {&pb.TxnRequest{Compare: slicesOf(128, compare),
			Success: opsOf(nest(0, opOf(get)))}, rpctypes.ErrGRPCTooManyOps},
		"txn: duplicate": {&pb.TxnRequest{Success: opsOf(putOp("a"), putOp("a"))},
			rpctypes.ErrGRPCDuplicateKey},
		"txn: duplicate, not taken": {&pb.TxnRequest{Failure: opsOf(putOp("a"), putOp("a"))},
			rpctypes.ErrGRPCDuplicateKey},
		"txn: duplicate after too many": {&pb.TxnRequest{Success: opsOf(putOp("a"), putOp("a")),
			Failure: many(129, get)}, rpctypes.ErrGRPCTooManyOps},
		"txn: duplicate after bad operation": {&pb.TxnRequest{Success: opsOf(putOp("a"), putOp("a")),
			Failure: opsOf(nil)}, rpctypes.ErrGRPCKeyNotFound},
		"txn: too large": {&pb.TxnRequest{Success: opsOf(&pb.PutRequest{Key: key, Value: huge})},
			rpctypes.ErrGRPCRequestTooLarge},
		"txn: too large, not taken": {&pb.TxnRequest{Failure: opsOf(&pb.PutRequest{Key: key, Value: huge})},
			rpctypes.ErrGRPCRequestTooLarge},
		"txn: duplicate before too large": {&pb.TxnRequest{Success: opsOf(&pb.PutRequest{Key: key, Value: huge},
			&pb.PutRequest{Key: key})}, rpctypes.ErrGRPCDuplicateKey},
		"txn: future read": {&pb.TxnRequest{Success: opsOf(putOp("a"),
			&pb.RangeRequest{Key: key, Revision: 999})}, rpctypes.ErrGRPCFutureRev},
		"txn: unknown lease": {&pb.TxnRequest{Success: opsOf(putOp("a"),
			&pb.PutRequest{Key: key, Lease: -1})}, rpctypes.ErrGRPCLeaseNotFound},
		"txn: ignored value of no key": {&pb.TxnRequest{Success: opsOf(putOp("a"),
			&pb.PutRequest{Key: []byte("absent"), IgnoreValue: true})}, rpctypes.ErrGRPCKeyNotFound},

		"compact: future":   {&pb.CompactionRequest{Revision: 999}, rpctypes.ErrGRPCFutureRev},
		"compact: negative": {&pb.CompactionRequest{Revision: -1}, rpctypes.ErrGRPCCompacted},
	} {
		t.Run(name, func(t *testing.T) {
			resp, err := call(t.Context(), kv, c.req)
			if err == nil {
				t.Fatalf("not refused: %v", resp)
			}
			sameStatus(t, err, c.want)
			if after := int64(kv.store.Revision()); after != before {
				t.Errorf("revision went from %d to %d", before, after)
			}
		})
	}
}

func slicesOf[T any](n int, v T) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = v
	}
	return out
}

// Requests that are just within the limits are accepted.
func TestRequestsAtLimitsAreAccepted(t *testing.T) {
	get := &pb.RangeRequest{Key: key}
	kv := newKV(t)
	for name, req := range map[string]any{
		"128 operations": &pb.TxnRequest{Success: many(128, get), Failure: many(128, get),
			Compare: slicesOf(128, &pb.Compare{Key: key})},
		"127 and a nested one": &pb.TxnRequest{Success: append(many(126, get),
			opOf(&pb.TxnRequest{Success: many(1, get)}))},
		"127 levels":                nest(127, opOf(get)),
		"both branches put one key": &pb.TxnRequest{Success: opsOf(putOp("a")), Failure: opsOf(putOp("a"))},
		"nested branches put one key": &pb.TxnRequest{Success: opsOf(&pb.TxnRequest{Success: opsOf(putOp("a")),
			Failure: opsOf(putOp("a"))})},
		"lease of a branch not taken": &pb.TxnRequest{Success: opsOf(putOp("a")),
			Failure: opsOf(&pb.PutRequest{Key: key, Lease: -1})},
		"nothing":      &pb.TxnRequest{},
		"a large read": &pb.RangeRequest{Key: bytes.Repeat(key, DefaultMaxRequestBytes)},
		"a large read-only txn": &pb.TxnRequest{Success: opsOf(&pb.RangeRequest{Key: bytes.Repeat(key,
			DefaultMaxRequestBytes)})},
		"negative revision and limit": &pb.RangeRequest{Key: key, Revision: -5, Limit: -5},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := call(t.Context(), kv, req); err != nil {
				t.Error(err)
			}
		})
	}
}

// sizeInEtcdsLog returns the size that etcd compares with its limit.
func sizeInEtcdsLog(req any) int {
	r := &pb.InternalRaftRequest{Header: &pb.RequestHeader{ID: 1 << 63}}
	switch req := req.(type) {
	case *pb.PutRequest:
		r.Put = req
	case *pb.DeleteRangeRequest:
		r.DeleteRange = req
	case *pb.TxnRequest:
		r.Txn = req
	}
	return proto.Size(r)
}

func TestRequestSizeMatchesEtcd(t *testing.T) {
	const limit = 4096
	kv := newKV(t)
	kv.maxRequestBytes = limit
	compares := []*pb.Compare{{Key: key, TargetUnion: &pb.Compare_Value{Value: bytes.Repeat(key, 500)}, Target: -1,
		Result: -1}}
	for name, sized := range map[string]func(n int) any{
		"put":    func(n int) any { return &pb.PutRequest{Key: key, Value: make([]byte, n)} },
		"key":    func(n int) any { return &pb.PutRequest{Key: bytes.Repeat(key, n), Lease: 60, PrevKv: true} },
		"delete": func(n int) any { return &pb.DeleteRangeRequest{Key: key, RangeEnd: bytes.Repeat(key, n)} },
		"txn": func(n int) any {
			return &pb.TxnRequest{Compare: compares, Success: opsOf(&pb.PutRequest{Key: key, Value: make([]byte, n)})}
		},
		"other branch": func(n int) any {
			return &pb.TxnRequest{Success: opsOf(putOp("a")),
				Failure: opsOf(&pb.RangeRequest{Key: bytes.Repeat(key, n), Limit: -1, MinModRevision: -1})}
		},
		"nested read": func(n int) any {
			return nest(2, opOf(&pb.RangeRequest{Key: bytes.Repeat(key, n)}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			checked := 0
			for n := 3000; n <= limit; n++ {
				req := sized(n)
				size := sizeInEtcdsLog(req)
				if size < limit-1 || size > limit+2 {
					continue
				}
				checked++
				_, err := call(t.Context(), kv, req)
				want := error(nil)
				if size > limit {
					want = rpctypes.ErrGRPCRequestTooLarge
				}
				sameStatus(t, err, want)
			}
			if checked < 3 {
				t.Errorf("%d sizes around the limit", checked)
			}
		})
	}
}

// The cheap bound must not be below the size, or a request above the limit would be accepted.
func TestSizeBoundsAreNotBelowSize(t *testing.T) {
	worst := &pb.RangeRequest{
		Key: key, RangeEnd: key, Limit: -1, Revision: -1, SortOrder: -1, SortTarget: -1,
		Serializable: true, KeysOnly: true, CountOnly: true,
		MinModRevision: -1, MaxModRevision: -1, MinCreateRevision: -1, MaxCreateRevision: -1,
	}
	write := &pb.PutRequest{Key: key, Value: key, Lease: -1, PrevKv: true, IgnoreValue: true, IgnoreLease: true}
	remove := &pb.DeleteRangeRequest{Key: key, RangeEnd: key, PrevKv: true}
	compare := &pb.Compare{Key: key, RangeEnd: key, Target: -1, Result: -1, TargetUnion: &pb.Compare_Lease{Lease: -1}}
	inner := &pb.TxnRequest{Compare: slicesOf(50, compare), Success: append(many(50, worst), many(50, write)...),
		Failure: many(50, remove)}
	outer := &pb.TxnRequest{Success: many(20, inner)}
	for _, c := range []struct {
		r     proto.Message
		bound int
	}{
		{worst, boundOfRange(worst)}, {write, boundOfPut(write)}, {remove, boundOfDeleteRange(remove)}, {inner,
			boundOfTxn(inner)}, {outer, boundOfTxn(outer)},
	} {
		if size := proto.Size(c.r); size > c.bound {
			t.Errorf("%T: size %d, bound %d", c.r, size, c.bound)
		}
	}
}

func TestRangeStreamRefusals(t *testing.T) {
	kv := newKV(t)
	sorted := status.Error(codes.Unimplemented, "RangeStream does not support custom sort orders")
	for name, c := range map[string]struct {
		req  *pb.RangeRequest
		want error
	}{
		"no key":     {&pb.RangeRequest{SortOrder: 2}, rpctypes.ErrGRPCEmptyKey},
		"bad sort":   {&pb.RangeRequest{Key: key, SortOrder: 9}, rpctypes.ErrGRPCInvalidSortOption},
		"descending": {&pb.RangeRequest{Key: key, SortOrder: pb.RangeRequest_DESCEND}, sorted},
		"by value": {
			&pb.RangeRequest{Key: key, SortOrder: pb.RangeRequest_ASCEND, SortTarget: pb.RangeRequest_VALUE}, sorted,
		},
		"filter": {
			&pb.RangeRequest{Key: key, MinModRevision: 1},
			status.Error(codes.Unimplemented, "RangeStream does not support revision filters"),
		},
		"sort and filter": {
			&pb.RangeRequest{Key: key, SortOrder: pb.RangeRequest_DESCEND, MaxCreateRevision: 1}, sorted,
		},
	} {
		t.Run(name, func(t *testing.T) { sameStatus(t, kv.RangeStream(c.req, nil), c.want) })
	}
}
