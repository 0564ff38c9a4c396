package semantics

import (
	"regexp"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/test/internal/stele"
)

func TestMaintenance(t *testing.T) { onBoth(t, maintenanceRules) }

var maintenanceRules = []rule{
	{"Status", func(e *env) {
		e.put("k", "v")
		a, err := e.Maintenance.Status(e.ctx, &pb.StatusRequest{})
		must(e, a, err)
		equal(e, "revision", a.Header.Revision, e.revision())
		equal(e, "a member leads", e.isMember(a.Leader), true)
		if e.Members() == 1 {
			equal(e, "the member leads itself", a.Leader, a.Header.MemberId)
		}
		equal(e, "raft term", a.RaftTerm, a.Header.RaftTerm)
		equal(e, "raft index is set", a.RaftIndex > 0, true)
		e.await(func() bool { // a new etcd first applies its own entries
			now := e.status()
			return now.RaftAppliedIndex == now.RaftIndex
		})
		if stele.Kind() != "tidb" { // its size is 0 until it has gathered statistics: docs/databases.md
			equal(e, "size is set", a.DbSize > 0, true)
			equal(e, "size in use is set", a.DbSizeInUse > 0, true)
		}
		equal(e, "size in use is no larger", a.DbSizeInUse <= a.DbSize, true)
		equal(e, "errors", len(a.Errors), 0)
		equal(e, "learner", a.IsLearner, false)
		equal(e, "downgrade", a.DowngradeInfo.GetEnabled(), false)
		if !regexp.MustCompile(`^3\.[67]\.\d+$`).MatchString(a.Version) {
			e.Errorf("version is %q", a.Version)
		}
		e.AwaitStorageVersion(e.T)
	}},
	{"Status grows with every write", func(e *env) {
		index := func() uint64 {
			a, err := e.Maintenance.Status(e.ctx, &pb.StatusRequest{})
			return must(e, a, err).RaftAppliedIndex
		}
		before := index()
		e.put("k", "v")
		e.await(func() bool { return index() > before }) // etcd answers the client first
	}},
	{"HashKV checks its revision", func(e *env) {
		current := e.put("k", "v").Header.Revision
		a, err := e.Maintenance.HashKV(e.ctx, &pb.HashKVRequest{})
		must(e, a, err)
		equal(e, "hash revision", a.HashRevision, current)
		equal(e, "header revision", a.Header.Revision, current)
		equal(e, "compact revision", a.CompactRevision, -1)
		refused(e, codes.OutOfRange, futureText, func() (*pb.HashKVResponse, error) {
			return e.Maintenance.HashKV(e.ctx, &pb.HashKVRequest{Revision: current + 1})
		})
	}},
	{"HashKV depends only on the history", func(e *env) {
		hash := func(revision int64) uint32 {
			a, err := e.Maintenance.HashKV(e.ctx, &pb.HashKVRequest{Revision: revision})
			return must(e, a, err).Hash
		}
		revision := e.put("k", "1").Header.Revision
		first := hash(0)
		e.put("k", "2")
		equal(e, "hash of the past", hash(revision), first)
		equal(e, "another history has another one", hash(0) != first, true)
	}},
	{"Hash", func(e *env) {
		e.put("k", "v")
		a, err := e.Maintenance.Hash(e.ctx, &pb.HashRequest{})
		must(e, a, err)
		equal(e, "revision", a.Header.Revision, e.revision())
		equal(e, "hash is set", a.Hash != 0, true)
	}},
	{"Alarm lists none", func(e *env) {
		a, err := e.Maintenance.Alarm(e.ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_GET})
		equal(e, "alarms", len(must(e, a, err).Alarms), 0)
	}},
	{"auth is not enabled", func(e *env) {
		auth := pb.NewAuthClient(e.Conn)
		a, err := auth.AuthStatus(e.ctx, &pb.AuthStatusRequest{})
		equal(e, "enabled", must(e, a, err).Enabled, false)
		_, err = auth.Authenticate(e.ctx, &pb.AuthenticateRequest{Name: "root", Password: "root"})
		equal(e, "code", status.Code(err), codes.FailedPrecondition)
		equal(e, "message", status.Convert(err).Message(), "etcdserver: authentication is not enabled")
	}},
	{"the health service knows the empty name only", func(e *env) {
		health := grpc_health_v1.NewHealthClient(e.Conn)
		a, err := health.Check(e.ctx, &grpc_health_v1.HealthCheckRequest{})
		equal(e, "status", must(e, a, err).Status, grpc_health_v1.HealthCheckResponse_SERVING)
		_, err = health.Check(e.ctx, &grpc_health_v1.HealthCheckRequest{Service: "no.such.service"})
		equal(e, "code", status.Code(err), codes.NotFound)
	}},
	{"changes of members check URLs and IDs", func(e *env) {
		cluster := pb.NewClusterClient(e.Conn)
		for _, urls := range [][]string{
			nil, {"127.0.0.1:2380"}, {"ftp://a:1"}, {"http://a"}, {"http://a:1/path"}, {"http://a:1", ""},
		} {
			_, err := cluster.MemberAdd(e.ctx, &pb.MemberAddRequest{PeerURLs: urls})
			refusedWith(e, err, codes.InvalidArgument, "etcdserver: given member URLs are invalid")
		}
		_, err := cluster.MemberRemove(e.ctx, &pb.MemberRemoveRequest{ID: 1})
		refusedWith(e, err, codes.NotFound, "etcdserver: member not found")
		_, err = cluster.MemberUpdate(e.ctx, &pb.MemberUpdateRequest{ID: 1, PeerURLs: []string{"http://127.0.0.1:1"}})
		refusedWith(e, err, codes.NotFound, "etcdserver: member not found")
		_, err = cluster.MemberPromote(e.ctx, &pb.MemberPromoteRequest{ID: 1})
		refusedWith(e, err, codes.NotFound, "etcdserver: member not found")
		_, err = cluster.MemberPromote(e.ctx, &pb.MemberPromoteRequest{ID: e.status().Header.MemberId})
		refusedWith(e, err, codes.FailedPrecondition, "etcdserver: can only promote a learner member")
	}},
	{"an unknown downgrade action is refused before its version", func(e *env) {
		_, err := e.Maintenance.Downgrade(e.ctx, &pb.DowngradeRequest{Action: 9, Version: "no version"})
		refusedWith(e, err, codes.Unknown, "etcdserver: unknown method")
	}},
	{"requests may be compressed", func(e *env) {
		_, err := e.KV.Put(e.ctx, &pb.PutRequest{Key: e.key("k"), Value: []byte("v")}, grpc.UseCompressor(gzip.Name))
		must(e, 0, err)
		equal(e, "value", string(e.get("k").Value), "v")
	}},
	{"an unknown method is Unimplemented", func(e *env) {
		err := e.Conn.Invoke(e.ctx, "/etcdserverpb.KV/NoSuchMethod", &pb.RangeRequest{}, &pb.RangeResponse{})
		equal(e, "code", status.Code(err), codes.Unimplemented)
	}},
}
