package semantics

import (
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
)

func TestLease(t *testing.T) { onBoth(t, leaseRules) }

func (e *env) grant(ttl int64) *pb.LeaseGrantResponse {
	e.Helper()
	a, err := e.Lease.LeaseGrant(e.ctx, &pb.LeaseGrantRequest{TTL: ttl})
	return must(e, a, err)
}

func (e *env) putWith(name string, lease int64) *pb.PutResponse {
	e.Helper()
	a, err := e.KV.Put(e.ctx, &pb.PutRequest{Key: e.key(name), Value: []byte("v"), Lease: lease})
	return must(e, a, err)
}

// leaseRules hold in both lease modes.
var leaseRules = []rule{
	{"a grant keeps the revision", func(e *env) {
		before := e.revision()
		a := e.grant(600)
		equal(e, "header revision", a.Header.Revision, before)
		equal(e, "revision", e.revision(), before)
		equal(e, "TTL", a.TTL, 600)
		equal(e, "the id is set", a.ID != 0, true)
		equal(e, "error", a.Error, "")
	}},
	{"a TTL below the minimum is raised to 2", func(e *env) {
		for _, ttl := range []int64{1, 0, -5} {
			equal(e, "TTL", e.grant(ttl).TTL, 2)
		}
	}},
	{"the largest TTL is 9000000000", func(e *env) {
		equal(e, "TTL", e.grant(9_000_000_000).TTL, 9_000_000_000)
		refused(e, codes.OutOfRange, "etcdserver: too large lease TTL", func() (*pb.LeaseGrantResponse, error) {
			return e.Lease.LeaseGrant(e.ctx, &pb.LeaseGrantRequest{TTL: 9_000_000_001})
		})
	}},
	{"a key with an expired lease is deleted with an event", func(e *env) {
		s := e.watch()
		s.all(&pb.WatchCreateRequest{PrevKv: true})
		e.putWith("k", e.grant(2).ID)
		before := e.get("k")
		equal(e, "put", s.text(s.events(1)), "PUT k=v")
		ev := s.events(1)
		equal(e, "deleted", s.text(ev), "DELETE k")
		equal(e, "previous KeyValue", ev[0].PrevKv.String(), before.String())
		equal(e, "is gone", e.get("k") == nil, true)
		equal(e, "revision of the deletion", ev[0].Kv.ModRevision > before.ModRevision, true)
		equal(e, "it can still be read",
			e.rangeOf(&pb.RangeRequest{Key: e.key("k"), Revision: before.ModRevision}).Count, 1)
		e.put("k", "again")
		equal(e, "version", e.get("k").Version, 1)
	}},
	{"a key that was put again without a lease stays", func(e *env) {
		s := e.watch()
		s.all(&pb.WatchCreateRequest{Filters: []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NOPUT}})
		lease := e.grant(2).ID
		e.putWith("detached", lease)
		e.put("detached", "stays")
		e.putWith("attached", lease)
		// The same sweep would delete both.
		equal(e, "deleted", s.text(s.events(1)), "DELETE attached")
		equal(e, "value", string(e.get("detached").Value), "stays")
	}},
	{"a deleted key with a lease is not deleted again", func(e *env) {
		s := e.watch()
		s.all(&pb.WatchCreateRequest{Filters: []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NOPUT}})
		lease := e.grant(2).ID
		e.putWith("deleted", lease)
		e.del("deleted")
		e.putWith("expires", lease)
		equal(e, "deleted", s.text(s.events(2)), "DELETE deleted DELETE expires")
	}},
}
