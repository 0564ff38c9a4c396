package semantics

import (
	"errors"
	"fmt"
	"io"
	"math"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
)

func TestRange(t *testing.T) { onBoth(t, rangeRules) }

var rangeRules = []rule{
	{"no range end is one key", func(e *env) {
		e.put("a", "")
		e.put("ab", "")
		equal(e, "keys", e.names(e.rangeOf(&pb.RangeRequest{Key: e.key("a")}).Kvs), "a")
	}},
	{"range end NUL is every key from key on", func(e *env) {
		e.put("a", "")
		e.put("b", "")
		a := e.rangeOf(&pb.RangeRequest{Key: e.key("b"), RangeEnd: []byte{0}, Limit: 1})
		equal(e, "first key", e.names(a.Kvs), "b")
	}},
	{"key and range end NUL are everything", func(e *env) {
		e.put("a", "")
		all := e.rangeOf(&pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, CountOnly: true}).Count
		_, err := e.KV.Put(e.ctx, &pb.PutRequest{Key: []byte{0}})
		must(e, 0, err)
		defer e.deleteOf(&pb.DeleteRangeRequest{Key: []byte{0}})
		equal(e, "count with one more key, NUL",
			e.rangeOf(&pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, CountOnly: true}).Count, all+1)
	}},
	{"range end at or before key is empty", func(e *env) {
		e.put("b", "")
		equal(e, "count up to itself", e.rangeOf(&pb.RangeRequest{Key: e.key("b"), RangeEnd: e.key("b")}).Count, 0)
		equal(e, "count backwards", e.rangeOf(&pb.RangeRequest{Key: e.key("b"), RangeEnd: e.key("a")}).Count, 0)
	}},
	{"keys are bytes in binary order", func(e *env) {
		for _, k := range []string{"\xff", "\x00", "Z", "a", "\xc3\x28", "ä", "a\x00"} {
			e.put(k, k)
		}
		equal(e, "keys", e.names(e.rangeOf(e.everything()).Kvs), "\x00 Z a a\x00 \xc3\x28 ä \xff")
	}},
	{"a negative revision is the current one", func(e *env) {
		e.put("k", "1")
		e.put("k", "2")
		for _, r := range []int64{-1, math.MinInt64} {
			equal(e, "value", string(e.rangeOf(&pb.RangeRequest{Key: e.key("k"), Revision: r}).Kvs[0].Value), "2")
		}
	}},
	{"a negative limit is none", func(e *env) {
		e.put("a", "")
		e.put("b", "")
		r := e.everything()
		r.Limit = -1
		equal(e, "keys", e.names(e.rangeOf(r).Kvs), "a b")
	}},
	{"a future revision is refused", func(e *env) {
		future := e.put("k", "").Header.Revision + 1
		refused(e, codes.OutOfRange, "etcdserver: mvcc: required revision is a future revision",
			func() (*pb.RangeResponse, error) {
				return e.KV.Range(e.ctx, &pb.RangeRequest{Key: e.key("k"), Revision: future})
			})
	}},
	{"an old revision shows the old state and the current header", func(e *env) {
		old := e.put("k", "1").Header.Revision
		e.put("k", "2")
		current := e.del("k").Header.Revision
		a := e.rangeOf(&pb.RangeRequest{Key: e.key("k"), Revision: old})
		equal(e, "value", string(a.Kvs[0].Value), "1")
		equal(e, "header revision", a.Header.Revision, current)
		equal(e, "mod revision", a.Kvs[0].ModRevision, old)
	}},
	{"count ignores limit and filters", func(e *env) {
		revision := e.put("a", "").Header.Revision
		e.put("b", "")
		e.put("c", "")
		r := e.everything()
		r.Limit, r.MinModRevision = 1, revision+1
		a := e.rangeOf(r)
		equal(e, "keys", e.names(a.Kvs), "b")
		equal(e, "count", a.Count, 3)
		equal(e, "more", a.More, true)
	}},
	{"more counts keys after filtering", func(e *env) {
		e.put("a", "")
		revision := e.put("b", "").Header.Revision
		r := e.everything()
		r.Limit, r.MinModRevision = 1, revision
		a := e.rangeOf(r)
		equal(e, "keys", e.names(a.Kvs), "b")
		equal(e, "more", a.More, false)
	}},
	{"more is false when the limit is just enough", func(e *env) {
		e.put("a", "")
		e.put("b", "")
		r := e.everything()
		r.Limit = 2
		equal(e, "more", e.rangeOf(r).More, false)
		r.Limit = 1
		equal(e, "more", e.rangeOf(r).More, true)
	}},
	{"count_only ignores limit and returns no keys", func(e *env) {
		e.put("a", "")
		e.put("b", "")
		r := e.everything()
		r.CountOnly, r.Limit = true, 1
		a := e.rangeOf(r)
		equal(e, "count", a.Count, 2)
		equal(e, "number of keys", len(a.Kvs), 0)
		equal(e, "more", a.More, false)
	}},
	{"keys_only drops value and lease", func(e *env) {
		lease, err := e.Lease.LeaseGrant(e.ctx, &pb.LeaseGrantRequest{TTL: 600})
		must(e, lease, err)
		put, err := e.KV.Put(e.ctx, &pb.PutRequest{Key: e.key("a"), Value: []byte("v"), Lease: lease.ID})
		must(e, put, err)
		r := e.everything()
		equal(e, "lease", e.rangeOf(r).Kvs[0].Lease, lease.ID)
		r.KeysOnly = true
		kv := e.rangeOf(r).Kvs[0]
		equal(e, "value", string(kv.Value), "")
		equal(e, "lease", kv.Lease, 0)
		equal(e, "version", kv.Version, 1)
		equal(e, "mod revision", kv.ModRevision, put.Header.Revision)
	}},
	{"sort target without order sorts ascending", func(e *env) {
		e.put("c", "1")
		e.put("a", "2")
		e.put("b", "0")
		for target, want := range map[pb.RangeRequest_SortTarget]string{
			pb.RangeRequest_KEY: "a b c", pb.RangeRequest_MOD: "c a b", pb.RangeRequest_CREATE: "c a b",
			pb.RangeRequest_VALUE: "b c a",
		} {
			r := e.everything()
			r.SortTarget = target
			equal(e, fmt.Sprintf("order by %v", target), e.names(e.rangeOf(r).Kvs), want)
		}
	}},
	{"order descending of every target", func(e *env) {
		e.put("c", "1")
		e.put("a", "2")
		e.put("b", "0")
		e.put("a", "2")
		for target, want := range map[pb.RangeRequest_SortTarget]string{
			pb.RangeRequest_KEY: "c b a", pb.RangeRequest_MOD: "a b c", pb.RangeRequest_CREATE: "b a c",
			pb.RangeRequest_VALUE: "a c b",
		} {
			r := e.everything()
			r.SortTarget, r.SortOrder = target, pb.RangeRequest_DESCEND
			equal(e, fmt.Sprintf("order by %v", target), e.names(e.rangeOf(r).Kvs), want)
		}
	}},
	{"filter then sort then limit", func(e *env) {
		e.put("a", "")
		e.put("b", "")
		last := e.put("c", "").Header.Revision
		r := e.everything()
		r.SortOrder, r.Limit, r.MaxModRevision = pb.RangeRequest_DESCEND, 1, last-1
		equal(e, "keys", e.names(e.rangeOf(r).Kvs), "b")
	}},
	{"all four filters", func(e *env) {
		first := e.put("a", "").Header.Revision
		e.put("b", "")
		e.put("a", "")
		for name, c := range map[string]struct {
			r    *pb.RangeRequest
			want string
		}{
			"min mod":      {&pb.RangeRequest{MinModRevision: first + 2}, "a"},
			"max mod":      {&pb.RangeRequest{MaxModRevision: first + 1}, "b"},
			"min create":   {&pb.RangeRequest{MinCreateRevision: first + 1}, "b"},
			"max create":   {&pb.RangeRequest{MaxCreateRevision: first}, "a"},
			"negative max": {&pb.RangeRequest{MaxCreateRevision: -1}, ""},
			"negative min": {&pb.RangeRequest{MinModRevision: -1}, "a b"},
		} {
			c.r.Key, c.r.RangeEnd = []byte(e.prefix), e.end()
			equal(e, name, e.names(e.rangeOf(c.r).Kvs), c.want)
		}
	}},
	{"empty key is refused", func(e *env) {
		refused(e, codes.InvalidArgument, "etcdserver: key is not provided", func() (*pb.RangeResponse, error) {
			return e.KV.Range(e.ctx, &pb.RangeRequest{RangeEnd: []byte{0}})
		})
	}},
	{"bad sort enum is refused", func(e *env) {
		refused(e, codes.InvalidArgument, "etcdserver: invalid sort option", func() (*pb.RangeResponse, error) {
			return e.KV.Range(e.ctx, &pb.RangeRequest{Key: e.key("k"), SortOrder: 3})
		})
		refused(e, codes.InvalidArgument, "etcdserver: invalid sort option", func() (*pb.RangeResponse, error) {
			return e.KV.Range(e.ctx, &pb.RangeRequest{Key: e.key("k"), SortTarget: 5})
		})
	}},
	{"a request is not too large if it only reads", func(e *env) {
		equal(e, "count", e.rangeOf(&pb.RangeRequest{Key: make([]byte, 1700<<10)}).Count, 0)
	}},
	{"RangeStream has header more and count on the last chunk only", func(e *env) {
		const n = 100
		for i := range n {
			e.put(fmt.Sprintf("%03d", i), "v")
		}
		for _, limit := range []int64{0, 7, 50, n, n + 1, -1} {
			r := e.everything()
			r.Limit = limit
			stream, err := e.KV.RangeStream(e.ctx, r)
			must(e, stream, err)
			got, last := 0, (*pb.RangeResponse)(nil)
			for {
				c, err := stream.Recv()
				if errors.Is(err, io.EOF) {
					break
				}
				chunk := must(e, c, err).RangeResponse
				if last.GetHeader() != nil {
					e.Fatalf("limit %d: a chunk after the one with the header", limit)
				}
				if chunk.Header == nil && (chunk.More || chunk.Count != 0) {
					e.Errorf("limit %d: more or count before the last chunk", limit)
				}
				last = chunk
				for _, kv := range chunk.Kvs {
					if want := fmt.Sprintf("%03d", got); string(kv.Key) != e.prefix+want {
						e.Errorf("limit %d: key %q, want %q", limit, kv.Key, want)
					}
					got++
				}
			}
			want := n
			if limit > 0 {
				want = min(n, int(limit))
			}
			equal(e, fmt.Sprintf("limit %d: number of keys", limit), got, want)
			equal(e, fmt.Sprintf("limit %d: count", limit), last.GetCount(), n)
			equal(e, fmt.Sprintf("limit %d: more", limit), last.GetMore(), want < n)
			equal(e, fmt.Sprintf("limit %d: header", limit), last.GetHeader().GetRevision() > 0, true)
		}
	}},
	{"RangeStream does not sort or filter by revision", func(e *env) {
		for message, r := range map[string]*pb.RangeRequest{
			"RangeStream does not support custom sort orders": {Key: e.key("k"), SortOrder: pb.RangeRequest_DESCEND},
			"RangeStream does not support revision filters":   {Key: e.key("k"), MinModRevision: 1},
		} {
			refused(e, codes.Unimplemented, message, func() (*pb.RangeStreamResponse, error) {
				stream, err := e.KV.RangeStream(e.ctx, r)
				if err != nil {
					return nil, err
				}
				return stream.Recv()
			})
		}
	}},
}
