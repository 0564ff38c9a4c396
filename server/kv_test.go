package server

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/stele-db/stele/logstructured"
)

func same(t testing.TB, got, want proto.Message) {
	t.Helper()
	if !proto.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// headerAt returns the header of a response of s at a revision.
func headerAt(s *member, revision int64) *pb.ResponseHeader {
	return &pb.ResponseHeader{ClusterId: s.clusterID, MemberId: s.memberID, Revision: revision,
		RaftTerm: s.store.Term()}
}

func kvAt(key, value string, create, mod, version int64) *mvccpb.KeyValue {
	return &mvccpb.KeyValue{Key: []byte(key), Value: []byte(value), CreateRevision: create, ModRevision: mod,
		Version: version}
}

func TestKVResponses(t *testing.T) {
	r := serve(t, nil)
	kv, m := pb.NewKVClient(r.dial(t)), r.watch.member
	// As kube-apiserver sends it.
	ctx := metadata.AppendToOutgoingContext(within(t), rpctypes.MetadataRequireLeaderKey, rpctypes.MetadataHasLeader,
		rpctypes.MetadataClientAPIVersionKey, "3.7")
	if m.clusterID == 0 || m.memberID == 0 || m.store.Term() == 0 {
		t.Fatalf("header with zeros: %v", headerAt(m, 0))
	}

	empty, err := kv.Range(ctx, &pb.RangeRequest{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	same(t, empty, &pb.RangeResponse{Header: headerAt(m, 1)})

	first, err := kv.Put(ctx, &pb.PutRequest{Key: []byte("a"), Value: []byte("1"), PrevKv: true})
	if err != nil {
		t.Fatal(err)
	}
	same(t, first, &pb.PutResponse{Header: headerAt(m, 2)})
	second, err := kv.Put(ctx, &pb.PutRequest{Key: []byte("a"), Value: []byte("2"), PrevKv: true})
	if err != nil {
		t.Fatal(err)
	}
	same(t, second, &pb.PutResponse{Header: headerAt(m, 3), PrevKv: kvAt("a", "1", 2, 2, 1)})

	old, err := kv.Range(ctx, &pb.RangeRequest{Key: []byte("a"), Revision: 2})
	if err != nil {
		t.Fatal(err)
	}
	same(t, old, &pb.RangeResponse{Header: headerAt(m, 3), Kvs: []*mvccpb.KeyValue{kvAt("a", "1", 2, 2, 1)}, Count: 1})

	txn, err := kv.Txn(ctx, &pb.TxnRequest{
		Compare: []*pb.Compare{{Key: []byte("a"), Target: pb.Compare_MOD, Result: pb.Compare_EQUAL,
			TargetUnion: &pb.Compare_ModRevision{ModRevision: 3}}},
		Success: opsOf(
			&pb.PutRequest{Key: []byte("b"), Value: []byte("x")},
			&pb.RangeRequest{Key: []byte("a"), RangeEnd: []byte("z"), Limit: 1},
			&pb.DeleteRangeRequest{Key: []byte("a"), PrevKv: true},
			&pb.TxnRequest{Success: opsOf(&pb.RangeRequest{Key: []byte("b"), CountOnly: true})},
		),
	})
	if err != nil {
		t.Fatal(err)
	}
	only := func(revision int64) *pb.ResponseHeader { return &pb.ResponseHeader{Revision: revision} }
	same(t, txn, &pb.TxnResponse{Header: headerAt(m, 4), Succeeded: true, Responses: []*pb.ResponseOp{
		{Response: &pb.ResponseOp_ResponsePut{ResponsePut: &pb.PutResponse{Header: only(4)}}},
		{Response: &pb.ResponseOp_ResponseRange{ResponseRange: &pb.RangeResponse{Header: only(4),
			Kvs: []*mvccpb.KeyValue{kvAt("a", "2", 2, 3, 2)}, More: true, Count: 2}}},
		{Response: &pb.ResponseOp_ResponseDeleteRange{ResponseDeleteRange: &pb.DeleteRangeResponse{Header: only(4),
			Deleted: 1, PrevKvs: []*mvccpb.KeyValue{kvAt("a", "2", 2, 3, 2)}}}},
		{Response: &pb.ResponseOp_ResponseTxn{ResponseTxn: &pb.TxnResponse{Header: &pb.ResponseHeader{},
			Succeeded: true, Responses: []*pb.ResponseOp{
				{Response: &pb.ResponseOp_ResponseRange{ResponseRange: &pb.RangeResponse{Header: only(4), Count: 1}}},
			}}}},
	}})

	deleted, err := kv.DeleteRange(ctx, &pb.DeleteRangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, PrevKv: true})
	if err != nil {
		t.Fatal(err)
	}
	same(t, deleted,
		&pb.DeleteRangeResponse{Header: headerAt(m, 5), Deleted: 1,
			PrevKvs: []*mvccpb.KeyValue{kvAt("b", "x", 4, 4, 1)}})

	compacted, err := kv.Compact(ctx, &pb.CompactionRequest{Revision: 4, Physical: true})
	if err != nil {
		t.Fatal(err)
	}
	same(t, compacted, &pb.CompactionResponse{Header: headerAt(m, 5)})
	_, err = kv.Range(ctx, &pb.RangeRequest{Key: []byte("a"), Revision: 3})
	sameStatus(t, err, rpctypes.ErrGRPCCompacted)

	grant, err := pb.NewLeaseClient(r.dial(t)).LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: 60})
	if err != nil {
		t.Fatal(err)
	}
	if grant.TTL != 60 || grant.ID == 0 || grant.Header.Revision != 5 {
		t.Errorf("grant: %v", grant)
	}
}

// The merged messages of a stream equal the response of Range. Header, More and Count are in the last message.
func TestRangeStreamMergesIntoRange(t *testing.T) {
	r := serve(t, func(o *Options) { o.MaxRequestBytes = 16 << 10 })
	kv, ctx := pb.NewKVClient(r.dial(t)), within(t)
	for i := range 300 {
		if _, err := kv.Put(ctx,
			&pb.PutRequest{Key: fmt.Appendf(nil, "key-%03d", i), Value: make([]byte, i*7)}); err != nil {
			t.Fatal(err)
		}
	}
	for name, req := range map[string]*pb.RangeRequest{
		"all":              {Key: []byte{0}, RangeEnd: []byte{0}},
		"limit":            {Key: []byte("key-0"), RangeEnd: []byte("key-1"), Limit: 57},
		"limit of a chunk": {Key: []byte("key-0"), RangeEnd: []byte("key-1"), Limit: 10},
		"limit of all":     {Key: []byte("key-0"), RangeEnd: []byte("key-1"), Limit: 100},
		"negative limit":   {Key: []byte("key-0"), RangeEnd: []byte("key-1"), Limit: -1},
		"one key":          {Key: []byte("key-123")},
		"no key":           {Key: []byte("absent")},
		"count":            {Key: []byte("key-0"), RangeEnd: []byte("key-2"), CountOnly: true, Limit: 3},
		"keys":             {Key: []byte("key-0"), RangeEnd: []byte("key-2"), KeysOnly: true},
		"old revision":     {Key: []byte{0}, RangeEnd: []byte{0}, Revision: 100},
		"serializable": {Key: []byte{0}, RangeEnd: []byte{0}, Serializable: true,
			SortOrder: pb.RangeRequest_ASCEND},
	} {
		t.Run(name, func(t *testing.T) {
			want, err := kv.Range(ctx, req)
			if err != nil {
				t.Fatal(err)
			}
			stream, err := kv.RangeStream(ctx, req)
			if err != nil {
				t.Fatal(err)
			}
			merged, messages, done := &pb.RangeResponse{}, 0, false
			for {
				part, err := stream.Recv()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if done {
					t.Error("a message after the one with the header")
				}
				done = part.RangeResponse.Header != nil
				if !done && (part.RangeResponse.More || part.RangeResponse.Count != 0) {
					t.Errorf("more or count before the last message: %v", part)
				}
				if n := proto.Size(part); n > 64<<10 {
					t.Errorf("a message of %d bytes", n)
				}
				proto.Merge(merged, part.RangeResponse)
				messages++
			}
			same(t, merged, want)
			if len(want.Kvs) > firstChunk && messages < 2 {
				t.Errorf("%d keys in one message", len(want.Kvs))
			}
		})
	}

	_, err := kv.Compact(ctx, &pb.CompactionRequest{Revision: 200})
	if err != nil {
		t.Fatal(err)
	}
	for revision, want := range map[int64]error{150: rpctypes.ErrGRPCCompacted, 10000: rpctypes.ErrGRPCFutureRev} {
		stream, err := kv.RangeStream(ctx, &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, Revision: revision})
		if err != nil {
			t.Fatal(err)
		}
		_, err = stream.Recv()
		sameStatus(t, err, want)
	}
}

// A sort target without a sort order sorts each message, and the next begins after the last key of the sorted one. The
// keys and counts are those that etcd 3.7.3 sends.
func TestRangeStreamSortsEachMessage(t *testing.T) {
	kv := newKV(t)
	for i := range 12 {
		put(t, kv, fmt.Sprintf("k%02d", i), fmt.Sprintf("v%02d", 12-i))
	}
	firstMessage := "k10 k09 k08 k07 k06 k05 k04 k03 k02 k01"
	for name, c := range map[string]struct {
		end   string
		limit int64
		keys  string
		more  bool
		count int64
	}{
		"one message":       {end: "k03", keys: "k02 k01 k00", count: 3},
		"two messages":      {end: "l", keys: firstMessage + " k11 k10 k09 k08 k07 k06 k05 k04 k03 k02", count: 20},
		"limit":             {end: "l", limit: 10, keys: firstMessage, more: true, count: 20},
		"limit of a third":  {end: "l", limit: 3, keys: "k03 k02 k01", more: true, count: 13},
		"unlimited message": {end: "l", limit: -1, keys: "k11 " + firstMessage + " k00", count: 12},
	} {
		t.Run(name, func(t *testing.T) {
			stream := &interruptedStream{ctx: within(t), t: t, onSend: func() {}}
			err := kv.RangeStream(&pb.RangeRequest{
				Key: []byte("k"), RangeEnd: []byte(c.end), Limit: c.limit, SortTarget: pb.RangeRequest_VALUE,
			}, stream)
			if err != nil {
				t.Fatal(err)
			}
			var keys []string
			for _, kv := range stream.got.Kvs {
				keys = append(keys, string(kv.Key))
			}
			if got := strings.Join(keys, " "); got != c.keys || stream.got.More != c.more ||
				stream.got.Count != c.count {
				t.Errorf("keys %s, more %v, count %d; want %s, %v, %d",
					got, stream.got.More, stream.got.Count, c.keys, c.more, c.count)
			}
		})
	}
}

// A stream reads at one revision, although keys change before its next message.
func TestRangeStreamReadsOneRevision(t *testing.T) {
	kv := newKV(t)
	for i := range 100 {
		put(t, kv, fmt.Sprintf("key-%03d", i), "old")
	}
	stream := &interruptedStream{KV_RangeStreamServer: nil, ctx: within(t), t: t,
		onSend: func() { put(t, kv, "key-099", "new"); put(t, kv, "key-0005", "new") }}
	if err := kv.RangeStream(&pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}}, stream); err != nil {
		t.Fatal(err)
	}
	if n := len(stream.got.Kvs); n != 100 || stream.got.Count != 100 {
		t.Errorf("%d keys, count %d", n, stream.got.Count)
	}
	for _, kv := range stream.got.Kvs {
		if string(kv.Value) != "old" {
			t.Errorf("%s was written after the stream began", kv.Key)
		}
	}
	if stream.got.Header.Revision != 101 {
		t.Errorf("header revision %d", stream.got.Header.Revision)
	}
}

// Numbers outside an enumeration must not become members of it.
func TestCompareOutsideEnumeration(t *testing.T) {
	for _, c := range []struct {
		in   *pb.Compare
		want logstructured.Compare
	}{
		{&pb.Compare{Target: pb.Compare_LEASE, Result: pb.Compare_NOT_EQUAL, TargetUnion: &pb.Compare_Lease{Lease: 7}},
			logstructured.Compare{Target: logstructured.CompareLease, Result: logstructured.CompareNotEqual,
				Number: 7}},
		{&pb.Compare{Target: pb.Compare_CREATE, Result: pb.Compare_LESS,
			TargetUnion: &pb.Compare_CreateRevision{CreateRevision: 7}},
			logstructured.Compare{Target: logstructured.CompareCreateRevision, Result: logstructured.CompareLess,
				Number: 7}},
		{&pb.Compare{Target: pb.Compare_MOD, Result: pb.Compare_GREATER,
			TargetUnion: &pb.Compare_ModRevision{ModRevision: 7}},
			logstructured.Compare{Target: logstructured.CompareModRevision, Result: logstructured.CompareGreater,
				Number: 7}},
		{&pb.Compare{TargetUnion: &pb.Compare_Version{Version: 7}}, logstructured.Compare{Number: 7}},
		// A union of another target counts as unset.
		{&pb.Compare{TargetUnion: &pb.Compare_Lease{Lease: 7}}, logstructured.Compare{}},
		{&pb.Compare{Target: pb.Compare_VALUE, TargetUnion: &pb.Compare_Lease{Lease: 7}},
			logstructured.Compare{Target: logstructured.CompareValue}},
		{&pb.Compare{Target: 256, Result: 256, TargetUnion: &pb.Compare_Version{Version: 7}},
			logstructured.Compare{Target: outOfEnum, Result: outOfEnum}},
		{&pb.Compare{Target: -1, Result: -256}, logstructured.Compare{Target: outOfEnum, Result: outOfEnum}},
	} {
		var got logstructured.Compare
		toCompare(c.in, &got)
		if got.Target != c.want.Target || got.Result != c.want.Result || got.Number != c.want.Number ||
			string(got.Value) != string(c.want.Value) {
			t.Errorf("%v: got %+v, want %+v", c.in, got, c.want)
		}
	}
}

func TestSerializableTransactions(t *testing.T) {
	stale, fresh := &pb.RangeRequest{Key: key, Serializable: true}, &pb.RangeRequest{Key: key}
	for _, c := range []struct {
		txn                    *pb.TxnRequest
		readOnly, serializable bool
	}{
		{&pb.TxnRequest{Success: opsOf(stale), Failure: opsOf(stale)}, true, true},
		{&pb.TxnRequest{Success: opsOf(stale), Failure: opsOf(fresh)}, true, false},
		{&pb.TxnRequest{Success: opsOf(stale)}, true, true},
		{&pb.TxnRequest{}, true, false},
		{&pb.TxnRequest{Success: opsOf(stale, putOp("a"))}, false, false},
		{&pb.TxnRequest{Success: opsOf(&pb.TxnRequest{Success: opsOf(stale)})}, false, false},
	} {
		if got := readOnly(c.txn); got != c.readOnly {
			t.Errorf("%v: read-only %v", c.txn, got)
		}
		if got := toTxn(c.txn).Serializable; got != c.serializable {
			t.Errorf("%v: serializable %v", c.txn, got)
		}
	}
}
