package server

import (
	"slices"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// The codes with which an invalid request may be refused. Any other code is a fault of the server.
var refusals = map[codes.Code]bool{codes.InvalidArgument: true, codes.OutOfRange: true, codes.NotFound: true}

// fuzzKV returns a service whose store has a little history, and whose limits are near.
func fuzzKV(f *testing.F) *kvServer {
	f.Helper()
	kv := newKV(f)
	kv.maxRequestBytes, kv.maxTxnOps = 4096, 8
	for _, k := range []string{"a", "b", "b", "c", "\x00", "\xff"} {
		put(f, kv, k, "value")
	}
	if _, err := kv.DeleteRange(f.Context(), &pb.DeleteRangeRequest{Key: []byte("c")}); err != nil {
		f.Fatal(err)
	}
	if _, err := kv.Compact(f.Context(), &pb.CompactionRequest{Revision: 4}); err != nil {
		f.Fatal(err)
	}
	return kv
}

func seed(f *testing.F, messages ...proto.Message) {
	f.Helper()
	for _, m := range messages {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
}

// outlive makes the leases of a request so long that no key expires while the test runs: that takes a revision of its
// own.
func outlive(req any) {
	switch r := req.(type) {
	case *pb.PutRequest:
		if r.GetLease() > 0 {
			r.Lease |= 1 << 20 // seconds
		}
	case *pb.TxnRequest:
		for _, op := range slices.Concat(r.GetSuccess(), r.GetFailure()) {
			outlive(op.GetRequestPut())
			outlive(op.GetRequestTxn())
		}
	}
}

// attempt sends req and checks what holds for every request: it is refused with a refusal and changes nothing, or it
// uses one revision at most, which the header shows.
func attempt(t *testing.T, kv *kvServer, req any) {
	t.Helper()
	outlive(req)
	before := kv.store.Revision()
	resp, err := call(t.Context(), kv, req)
	after := kv.store.Revision()
	if err != nil {
		if code := status.Code(err); !refusals[code] {
			t.Errorf("%v: %v", req, err)
		}
		if after != before {
			t.Errorf("refused (%v), but the revision went from %d to %d: %v", err, before, after, req)
		}
		return
	}
	if after != before && after != before+1 {
		t.Errorf("the revision went from %d to %d: %v", before, after, req)
	}
	header := resp.(interface{ GetHeader() *pb.ResponseHeader }).GetHeader()
	if header.Revision != int64(after) || header.ClusterId == 0 || header.MemberId == 0 || header.RaftTerm == 0 {
		t.Errorf("header %v at revision %d", header, after)
	}
	if _, err := proto.Marshal(resp.(proto.Message)); err != nil {
		t.Errorf("the answer cannot be encoded: %v", err)
	}
}

func FuzzRangeRequest(f *testing.F) {
	kv := fuzzKV(f)
	seed(f,
		&pb.RangeRequest{Key: []byte("a")},
		&pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, Limit: 2, SortTarget: pb.RangeRequest_VALUE,
			SortOrder: pb.RangeRequest_DESCEND},
		&pb.RangeRequest{Key: []byte("b"), RangeEnd: []byte("a"), Revision: 5, KeysOnly: true, Serializable: true},
		&pb.RangeRequest{Key: []byte("a"), RangeEnd: []byte{0}, MinModRevision: 2, MaxModRevision: 6,
			MinCreateRevision: -1, MaxCreateRevision: 9},
		&pb.RangeRequest{Key: []byte("a"), Revision: 1, CountOnly: true, SortTarget: 200, SortOrder: -7},
		&pb.RangeRequest{Key: []byte("a"), RangeEnd: []byte("z"), Limit: 1 << 62, Revision: 1 << 62},
	)
	f.Fuzz(func(t *testing.T, b []byte) {
		req := &pb.RangeRequest{}
		if proto.Unmarshal(b, req) != nil {
			return
		}
		attempt(t, kv, req)
		stream := &interruptedStream{t: t, ctx: t.Context(), onSend: func() {}}
		err := kv.RangeStream(req, stream)
		if code := status.Code(err); err != nil && !refusals[code] && code != codes.Unimplemented {
			t.Errorf("stream of %v: %v", req, err)
		}
		if err == nil && stream.got.Header == nil {
			t.Errorf("stream of %v ended without a header", req)
		}
	})
}

func FuzzTxnValidation(f *testing.F) {
	kv := fuzzKV(f)
	compare := &pb.Compare{Key: []byte("a"), Target: pb.Compare_VALUE, Result: pb.Compare_NOT_EQUAL,
		TargetUnion: &pb.Compare_Value{Value: []byte("x")}}
	seed(f,
		&pb.TxnRequest{},
		&pb.TxnRequest{Compare: []*pb.Compare{compare,
			{Key: []byte("a"), RangeEnd: []byte{0}, Target: 77,
				Result: 1000}}, Success: opsOf(putOp("a")), Failure: opsOf(delOp("a", "c"))},
		&pb.TxnRequest{Success: opsOf(putOp("a"), putOp("b"), &pb.RangeRequest{Key: []byte("a"), RangeEnd: []byte("c")},
			delOp("c", "d"))},
		&pb.TxnRequest{Success: opsOf(&pb.TxnRequest{Success: opsOf(putOp("a")), Failure: opsOf(putOp("a"))},
			delOp("b", ""))},
		&pb.TxnRequest{Success: opsOf(&pb.TxnRequest{Success: opsOf(putOp("b"))},
			&pb.TxnRequest{Success: opsOf(delOp("a", "c"))})},
		&pb.TxnRequest{Success: opsOf(&pb.PutRequest{Key: []byte("q"), IgnoreValue: true},
			&pb.PutRequest{Key: []byte("r"), Lease: -5})},
		nest(7, opOf(putOp("deep"))), nest(9, opOf(putOp("deeper"))),
		&pb.TxnRequest{Success: opsOf(nil)},
		&pb.TxnRequest{Success: opsOf(&pb.RangeRequest{Key: []byte("a"), Revision: 2})},
	)
	f.Fuzz(func(t *testing.T, b []byte) {
		req := &pb.TxnRequest{}
		if proto.Unmarshal(b, req) != nil {
			return
		}
		if checkTxnOps(req, kv.maxTxnOps) == nil {
			_, success := plainOverlaps(req.Success)
			_, failure := plainOverlaps(req.Failure)
			if got := checkTxn(req, kv.maxTxnOps) == nil; got != (success && failure) {
				t.Errorf("overlaps: accepted %v, the model %v: %v", got, success && failure, req)
			}
		}
		attempt(t, kv, req)
	})
}

func FuzzWriteRequests(f *testing.F) {
	kv := fuzzKV(f)
	add := func(kind byte, m proto.Message) {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(kind, b)
	}
	add(0, &pb.PutRequest{Key: []byte("a"), Value: []byte("v"), PrevKv: true})
	add(0, &pb.PutRequest{Key: []byte("a"), IgnoreValue: true, IgnoreLease: true})
	add(0, &pb.PutRequest{Key: []byte("a"), Lease: 1 << 40})
	add(0, &pb.PutRequest{Key: []byte("a"), Value: make([]byte, 5000)})
	add(1, &pb.DeleteRangeRequest{Key: []byte("a"), RangeEnd: []byte{0}, PrevKv: true})
	add(1, &pb.DeleteRangeRequest{Key: []byte("z"), RangeEnd: []byte("a")})
	add(2, &pb.CompactionRequest{Revision: 5})
	add(2, &pb.CompactionRequest{Revision: -5})
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		req := []proto.Message{&pb.PutRequest{}, &pb.DeleteRangeRequest{}, &pb.CompactionRequest{}}[kind%3]
		if proto.Unmarshal(b, req) != nil {
			return
		}
		if c, ok := req.(*pb.CompactionRequest); ok {
			c.Physical = false // it waits, which is another test's matter
		}
		attempt(t, kv, req)
	})
}
