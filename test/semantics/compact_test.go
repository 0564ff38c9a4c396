package semantics

import (
	"math"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
)

const (
	compactedText = "etcdserver: mvcc: required revision has been compacted"
	futureText    = "etcdserver: mvcc: required revision is a future revision"
)

func TestCompact(t *testing.T) { onFresh(t, compactRules) }

func compactRefused(e *env, message string, revision int64) {
	e.Helper()
	for _, physical := range []bool{false, true} {
		refused(e, codes.OutOfRange, message, func() (*pb.CompactionResponse, error) {
			return e.KV.Compact(e.ctx, &pb.CompactionRequest{Revision: revision, Physical: physical})
		})
	}
}

var compactRules = []rule{
	{"0 succeeds once on a fresh store", func(e *env) {
		compactRefused(e, compactedText, -1)
		equal(e, "revision", e.compact(0).Header.Revision, 1)
		compactRefused(e, compactedText, 0)
		equal(e, "revision", e.compact(1).Header.Revision, 1)
		compactRefused(e, compactedText, 1)
		compactRefused(e, futureText, 2)
	}},
	{"at or below the compacted revision or above the current one is refused", func(e *env) {
		var last int64
		for range 5 {
			last = e.put("k", "v").Header.Revision
		}
		equal(e, "revision", e.compact(last-1).Header.Revision, last)
		for _, revision := range []int64{last - 1, last - 2, 0, -1, math.MinInt64} {
			compactRefused(e, compactedText, revision)
		}
		compactRefused(e, futureText, last+1)
		compactRefused(e, futureText, math.MaxInt64)
		equal(e, "at the current revision", e.compact(last).Header.Revision, last)
	}},
	{"a compaction removes revisions below it and no others", func(e *env) {
		first := e.put("k", "1").Header.Revision
		e.put("other", "old")
		e.put("gone", "")
		e.del("gone")
		middle := e.put("k", "2").Header.Revision
		last := e.put("k", "3").Header.Revision
		e.compact(middle)
		refused(e, codes.OutOfRange, compactedText, func() (*pb.RangeResponse, error) {
			return e.KV.Range(e.ctx, &pb.RangeRequest{Key: e.key("k"), Revision: middle - 1})
		})
		refused(e, codes.OutOfRange, compactedText, func() (*pb.TxnResponse, error) {
			return e.KV.Txn(e.ctx, &pb.TxnRequest{Success: []*pb.RequestOp{
				putOp(e.key("k"), "never"), rangeOp(&pb.RangeRequest{Key: e.key("k"), Revision: first}),
			}})
		})
		refused(e, codes.OutOfRange, compactedText, func() (*pb.RangeResponse, error) {
			return e.KV.Range(e.ctx, &pb.RangeRequest{Key: e.key("k"), Revision: 1, CountOnly: true})
		})
		at := func(name string, revision int64) string {
			return string(e.rangeOf(&pb.RangeRequest{Key: e.key(name), Revision: revision}).Kvs[0].Value)
		}
		equal(e, "value at exactly the compacted revision", at("k", middle), "2")
		equal(e, "value of an old key there", at("other", middle), "old")
		equal(e, "value now", at("k", last), "3")
		equal(e, "version now", e.get("k").Version, 3)
		equal(e, "create revision now", e.get("k").CreateRevision, first)
		equal(e, "keys", e.names(e.rangeOf(e.everything()).Kvs), "k other")
		e.put("gone", "again")
		equal(e, "version of a key that was deleted before", e.get("gone").Version, 1)
	}},
	{"compacting at a tombstone", func(e *env) {
		e.put("k", "1")
		gone := e.del("k").Header.Revision
		e.compact(gone)
		equal(e, "count", e.rangeOf(&pb.RangeRequest{Key: e.key("k"), Revision: gone}).Count, 0)
		equal(e, "revision", e.revision(), gone)
		equal(e, "revision of the next write", e.put("k", "2").Header.Revision, gone+1)
		equal(e, "version", e.get("k").Version, 1)
	}},
	{"everything deleted and compacted", func(e *env) {
		e.put("k", "1")
		gone := e.del("k").Header.Revision
		e.compact(gone)
		if err := e.Restart(e.ctx); err != nil {
			e.Fatal(err)
		}
		equal(e, "revision after a restart", e.revision(), gone)
		compactRefused(e, compactedText, gone)
	}},
	{"compactions survive a restart", func(e *env) {
		e.put("k", "1")
		revision := e.put("k", "2").Header.Revision
		e.put("k", "3")
		e.compact(revision)
		if err := e.Restart(e.ctx); err != nil {
			e.Fatal(err)
		}
		compactRefused(e, compactedText, revision)
		refused(e, codes.OutOfRange, compactedText, func() (*pb.RangeResponse, error) {
			return e.KV.Range(e.ctx, &pb.RangeRequest{Key: e.key("k"), Revision: revision - 1})
		})
		equal(e, "value", string(e.rangeOf(&pb.RangeRequest{Key: e.key("k"), Revision: revision}).Kvs[0].Value), "2")
	}},
	{"a compare after the history was compacted", func(e *env) {
		e.put("k", "1")
		e.compact(e.put("k", "2").Header.Revision)
		equal(e, "version", e.holds(version(e.key("k"), equalTo, 2)), true)
	}},
}
