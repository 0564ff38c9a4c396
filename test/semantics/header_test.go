package semantics

import (
	"slices"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

func TestHeader(t *testing.T) { onBoth(t, headerRules) }

var headerRules = []rule{
	{"identities are never zero", func(e *env) {
		lease, err := e.Lease.LeaseGrant(e.ctx, &pb.LeaseGrantRequest{TTL: 600})
		must(e, lease, err)
		members, err := e.Cluster.MemberList(e.ctx, &pb.MemberListRequest{})
		must(e, members, err)
		for name, h := range map[string]*pb.ResponseHeader{
			"put":    e.put("k", "v").Header,
			"range":  e.rangeOf(e.everything()).Header,
			"txn":    e.txn(&pb.TxnRequest{}).Header,
			"delete": e.del("k").Header,
			"lease":  lease.Header,
			"member": members.Header,
		} {
			if h.GetClusterId() == 0 || h.GetMemberId() == 0 || h.GetRaftTerm() == 0 {
				e.Errorf("the header of %s lacks an identity: %v", name, h)
			}
		}
	}},
	{"identities are the same in every answer", func(e *env) {
		a, b := e.put("k", "v").Header, e.rangeOf(e.everything()).Header
		equal(e, "cluster id", a.ClusterId, b.ClusterId)
		equal(e, "both are members", e.isMember(a.MemberId) && e.isMember(b.MemberId), true)
		if e.Members() == 1 {
			equal(e, "member id", a.MemberId, b.MemberId)
		}
	}},
	{"a write adds one revision whatever its number of operations", func(e *env) {
		before := e.revision()
		a := e.txn(&pb.TxnRequest{
			Success: []*pb.RequestOp{putOp(e.key("a"), ""), putOp(e.key("b"), ""), putOp(e.key("c"), "")},
		})
		equal(e, "revision after a txn of three puts", a.Header.Revision, before+1)
		equal(e, "revision after deleting three keys",
			e.deleteOf(&pb.DeleteRangeRequest{Key: []byte(e.prefix), RangeEnd: e.end()}).Header.Revision, before+2)
	}},
	{"a request without effect returns the current revision", func(e *env) {
		before := e.put("k", "v").Header.Revision
		equal(e, "delete of nothing", e.del("missing").Header.Revision, before)
		equal(e, "empty txn", e.txn(&pb.TxnRequest{}).Header.Revision, before)
		equal(e, "txn that deletes nothing",
			e.txn(&pb.TxnRequest{Success: []*pb.RequestOp{deleteOp(e.key("missing"), nil)}}).Header.Revision, before)
		equal(e, "range", e.rangeOf(e.everything()).Header.Revision, before)
	}},
	{"answers inside a txn carry only the revision", func(e *env) {
		a := e.txn(&pb.TxnRequest{Success: []*pb.RequestOp{
			putOp(e.key("a"), ""), rangeOp(e.everything()), deleteOp(e.key("b"), nil), txnOp(&pb.TxnRequest{}),
		}})
		for i, h := range []*pb.ResponseHeader{
			a.Responses[0].GetResponsePut().Header,
			a.Responses[1].GetResponseRange().Header,
			a.Responses[2].GetResponseDeleteRange().Header,
		} {
			if want := (&pb.ResponseHeader{Revision: a.Header.Revision}); !proto.Equal(h, want) {
				e.Errorf("header of operation %d is %v, want %v", i, h, want)
			}
		}
		if h := a.Responses[3].GetResponseTxn().Header; !proto.Equal(h, &pb.ResponseHeader{}) {
			e.Errorf("header of a nested txn is %v, want an empty one", h)
		}
	}},
	{"MemberList has no revision", func(e *env) {
		a, err := e.Cluster.MemberList(e.ctx, &pb.MemberListRequest{Linearizable: true})
		equal(e, "revision", must(e, a, err).Header.Revision, 0)
		equal(e, "number of members", len(a.Members), e.Members())
		answering := slices.IndexFunc(a.Members, func(m *pb.Member) bool { return m.ID == a.Header.MemberId })
		equal(e, "one member's id is the header's", answering >= 0, true)
		for _, m := range a.Members {
			equal(e, "name is set", m.Name != "", true)
			equal(e, "client URLs are set", len(m.ClientURLs) > 0, true)
		}
	}},
	{"Defragment has no header", func(e *env) {
		a, err := e.Maintenance.Defragment(e.ctx, &pb.DefragmentRequest{})
		equal(e, "header is missing", must(e, a, err).Header == nil, true)
	}},
}

func TestFreshStore(t *testing.T) {
	onFresh(t, []rule{
		{"revision 1", func(e *env) {
			equal(e, "revision of a fresh store", e.revision(), 1)
			equal(e, "revision of the first write", e.put("k", "v").Header.Revision, 2)
		}},
	})
}
