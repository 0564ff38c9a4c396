package semantics

import (
	"math"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestPut(t *testing.T) { onBoth(t, putRules) }

func TestDeleteRange(t *testing.T) { onBoth(t, deleteRules) }

// putWith checks that a put is refused.
func putWith(e *env, code codes.Code, message string, r *pb.PutRequest) {
	e.Helper()
	refused(e, code, message, func() (*pb.PutResponse, error) { return e.KV.Put(e.ctx, r) })
	refused(e, code, message, func() (*pb.TxnResponse, error) {
		return e.KV.Txn(e.ctx, &pb.TxnRequest{Success: []*pb.RequestOp{
			putOp(e.key("neighbour"), ""),
			{Request: &pb.RequestOp_RequestPut{RequestPut: r}},
		}})
	})
}

var putRules = []rule{
	{"an update keeps create_revision and counts version up", func(e *env) {
		created := e.put("k", "1").Header.Revision
		modified := e.put("k", "2").Header.Revision
		kv := e.get("k")
		equal(e, "create revision", kv.CreateRevision, created)
		equal(e, "mod revision", kv.ModRevision, modified)
		equal(e, "version", kv.Version, 2)
	}},
	{"a delete resets create_revision and version", func(e *env) {
		e.put("k", "1")
		e.put("k", "2")
		e.del("k")
		created := e.put("k", "3").Header.Revision
		equal(e, "create revision", e.get("k").CreateRevision, created)
		equal(e, "version", e.get("k").Version, 1)
	}},
	{"the same value again is a new revision", func(e *env) {
		first := e.put("k", "v").Header.Revision
		equal(e, "revision", e.put("k", "v").Header.Revision, first+1)
		equal(e, "version", e.get("k").Version, 2)
	}},
	{"an empty value is a value", func(e *env) {
		e.put("k", "")
		equal(e, "exists", e.get("k") != nil, true)
	}},
	{"prev_kv is the whole previous KeyValue", func(e *env) {
		a, err := e.KV.Put(e.ctx, &pb.PutRequest{Key: e.key("k"), Value: []byte("1"), PrevKv: true})
		equal(e, "no previous KeyValue", must(e, a, err).PrevKv == nil, true)
		e.put("k", "2")
		before := e.get("k")
		a, err = e.KV.Put(e.ctx, &pb.PutRequest{Key: e.key("k"), Value: []byte("3"), PrevKv: true})
		equal(e, "previous KeyValue", must(e, a, err).PrevKv.String(), before.String())
	}},
	{"a plain put detaches the lease and ignore_lease keeps it", func(e *env) {
		lease, err := e.Lease.LeaseGrant(e.ctx, &pb.LeaseGrantRequest{TTL: 600})
		must(e, lease, err)
		_, err = e.KV.Put(e.ctx, &pb.PutRequest{Key: e.key("k"), Lease: lease.ID})
		must(e, 0, err)
		_, err = e.KV.Put(e.ctx, &pb.PutRequest{Key: e.key("k"), Value: []byte("2"), IgnoreLease: true})
		must(e, 0, err)
		equal(e, "lease after ignore_lease", e.get("k").Lease, lease.ID)
		e.put("k", "3")
		equal(e, "lease after a plain put", e.get("k").Lease, 0)
	}},
	{"ignore_value keeps the value", func(e *env) {
		e.put("k", "v")
		_, err := e.KV.Put(e.ctx, &pb.PutRequest{Key: e.key("k"), IgnoreValue: true})
		must(e, 0, err)
		equal(e, "value", string(e.get("k").Value), "v")
		equal(e, "version", e.get("k").Version, 2)
	}},
	{"empty key is refused", func(e *env) {
		putWith(e, codes.InvalidArgument, "etcdserver: key is not provided", &pb.PutRequest{Value: []byte("v")})
	}},
	{"ignore_value with a value is refused", func(e *env) {
		e.put("k", "")
		putWith(e, codes.InvalidArgument, "etcdserver: value is provided", &pb.PutRequest{
			Key: e.key("k"), Value: []byte("v"), IgnoreValue: true,
		})
	}},
	{"ignore_lease with a lease is refused", func(e *env) {
		e.put("k", "")
		putWith(e, codes.InvalidArgument, "etcdserver: lease is provided", &pb.PutRequest{
			Key: e.key("k"), Lease: 1, IgnoreLease: true,
		})
	}},
	{"ignore_value or ignore_lease on a missing key is refused", func(e *env) {
		putWith(e, codes.InvalidArgument, "etcdserver: key not found", &pb.PutRequest{
			Key: e.key("k"), IgnoreValue: true,
		})
		putWith(e, codes.InvalidArgument, "etcdserver: key not found", &pb.PutRequest{
			Key: e.key("k"), Value: []byte("v"), IgnoreLease: true,
		})
		e.put("k", "")
		e.del("k")
		putWith(e, codes.InvalidArgument, "etcdserver: key not found", &pb.PutRequest{
			Key: e.key("k"), IgnoreValue: true,
		})
	}},
	{"an unknown lease is refused", func(e *env) {
		for _, id := range []int64{-1, math.MinInt64, 9_000_000_001, math.MaxInt64} {
			putWith(e, codes.NotFound, "etcdserver: requested lease not found", &pb.PutRequest{
				Key: e.key("k"), Lease: id,
			})
		}
	}},
	{"over 1.5 MiB is too large", func(e *env) {
		equal(e, "1.4 MiB is fine", e.put("k", strings.Repeat("x", 1400<<10)).Header.Revision > 0, true)
		refused(e, codes.InvalidArgument, "etcdserver: request is too large", func() (*pb.PutResponse, error) {
			return e.KV.Put(e.ctx, &pb.PutRequest{Key: e.key("k"), Value: make([]byte, 1600<<10)})
		})
		refused(e, codes.InvalidArgument, "etcdserver: request is too large", func() (*pb.TxnResponse, error) {
			half := strings.Repeat("x", 800<<10)
			return e.KV.Txn(e.ctx, &pb.TxnRequest{
				Success: []*pb.RequestOp{putOp(e.key("a"), half), putOp(e.key("b"), half)},
			})
		})
		refused(e, codes.InvalidArgument, "etcdserver: request is too large", func() (*pb.DeleteRangeResponse, error) {
			return e.KV.DeleteRange(e.ctx, &pb.DeleteRangeRequest{Key: make([]byte, 1600<<10)})
		})
	}},
	{"over 2 MiB is refused by grpc", func(e *env) {
		before := e.revision()
		_, err := e.KV.Put(e.ctx, &pb.PutRequest{Key: e.key("k"), Value: make([]byte, 2200<<10)})
		equal(e, "code", status.Code(err), codes.ResourceExhausted)
		equal(e, "message",
			strings.HasPrefix(status.Convert(err).Message(), "grpc: received message larger than max"), true)
		equal(e, "revision", e.revision(), before)
	}},
	{"a key of a megabyte", func(e *env) {
		long := strings.Repeat("k", 1<<20)
		e.put(long, "v")
		equal(e, "value", string(e.get(long).Value), "v")
		equal(e, "deleted", e.del(long).Deleted, 1)
	}},
}

var deleteRules = []rule{
	{"deleting nothing leaves the revision", func(e *env) {
		before := e.revision()
		a := e.del("missing")
		equal(e, "deleted", a.Deleted, 0)
		equal(e, "revision", a.Header.Revision, before)
	}},
	{"prev_kvs are the whole previous KeyValues in key order", func(e *env) {
		e.put("b", "2")
		e.put("a", "1")
		before := e.rangeOf(e.everything()).Kvs
		a := e.deleteOf(&pb.DeleteRangeRequest{Key: []byte(e.prefix), RangeEnd: e.end(), PrevKv: true})
		equal(e, "deleted", a.Deleted, 2)
		equal(e, "keys", e.names(a.PrevKvs), "a b")
		for i, kv := range a.PrevKvs {
			equal(e, "previous KeyValue", kv.String(), before[i].String())
		}
	}},
	{"without prev_kv there are none", func(e *env) {
		e.put("a", "1")
		equal(e, "number of previous KeyValues", len(e.del("a").PrevKvs), 0)
	}},
	{"range end at or before key deletes nothing", func(e *env) {
		e.put("b", "")
		equal(e, "deleted", e.deleteOf(&pb.DeleteRangeRequest{Key: e.key("b"), RangeEnd: e.key("a")}).Deleted, 0)
		equal(e, "deleted", e.deleteOf(&pb.DeleteRangeRequest{Key: e.key("b"), RangeEnd: e.key("b")}).Deleted, 0)
		equal(e, "exists", e.get("b") != nil, true)
	}},
	{"empty key is refused", func(e *env) {
		refused(e, codes.InvalidArgument, "etcdserver: key is not provided", func() (*pb.DeleteRangeResponse, error) {
			return e.KV.DeleteRange(e.ctx, &pb.DeleteRangeRequest{RangeEnd: []byte{0}})
		})
	}},
	{"a deleted key can be read at older revisions", func(e *env) {
		past := e.put("k", "v").Header.Revision
		e.del("k")
		equal(e, "value", string(e.rangeOf(&pb.RangeRequest{Key: e.key("k"), Revision: past}).Kvs[0].Value), "v")
		equal(e, "exists now", e.get("k") == nil, true)
	}},
}
