package semantics

import (
	"regexp"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
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
		e.await(func() bool { // a new etcd still has to apply what it writes itself
			now := e.status()
			return now.RaftAppliedIndex == now.RaftIndex
		})
		if stele.Kind() != "tidb" { // which says 0 until it has gathered statistics: docs/databases.md
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
		e.await(func() bool { return index() > before }) // an etcd tells the client first
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
	{"HashKV depends on the history alone", func(e *env) {
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
	{"an unknown method is Unimplemented", func(e *env) {
		err := e.Conn.Invoke(e.ctx, "/etcdserverpb.KV/NoSuchMethod", &pb.RangeRequest{}, &pb.RangeResponse{})
		equal(e, "code", status.Code(err), codes.Unimplemented)
	}},
}
