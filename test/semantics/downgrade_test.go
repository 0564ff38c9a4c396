package semantics

import (
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestLeaderAndDowngrade(t *testing.T) { onBoth(t, leaderRules) }

// refusedWith checks a refusal that depends on the state of the cluster.
func refusedWith(e *env, err error, code codes.Code, message string) {
	e.Helper()
	if got := status.Convert(err); got.Code() != code || got.Message() != message {
		e.Errorf("%v: %q, want %v: %q", got.Code(), got.Message(), code, message)
	}
}

func (e *env) status() *pb.StatusResponse {
	e.Helper()
	a, err := e.Maintenance.Status(e.ctx, &pb.StatusRequest{})
	return must(e, a, err)
}

var leaderRules = []rule{
	{"MoveLeader", func(e *env) {
		_, err := e.Maintenance.MoveLeader(e.ctx, &pb.MoveLeaderRequest{TargetID: 1})
		if e.Members() > 1 {
			return // the leader depends on the replica that answers
		}
		refusedWith(e, err, codes.FailedPrecondition, "etcdserver: bad leader transferee")
		a, err := e.Maintenance.MoveLeader(e.ctx, &pb.MoveLeaderRequest{TargetID: e.status().Leader})
		equal(e, "header", must(e, a, err).Header == nil, true)
	}},
	{"Downgrade", func(e *env) {
		ask := func(action pb.DowngradeRequest_DowngradeAction, version string) (*pb.DowngradeResponse, error) {
			return e.Maintenance.Downgrade(e.ctx, &pb.DowngradeRequest{Action: action, Version: version})
		}
		const validate, enable, cancel = pb.DowngradeRequest_VALIDATE, pb.DowngradeRequest_ENABLE,
			pb.DowngradeRequest_CANCEL
		const wrongFormat, wrongTarget = "etcdserver: wrong downgrade target version format",
			"etcdserver: invalid downgrade target version"
		for version, message := range map[string]string{
			"": wrongFormat, "3": wrongFormat, "x.y.z": wrongFormat, "3.6.0.0": wrongFormat, "3.-6": wrongFormat,
			"3.5.0": wrongTarget, "3.7.0": wrongTarget, "2.6.0": wrongTarget,
		} {
			for _, action := range []pb.DowngradeRequest_DowngradeAction{validate, enable} {
				_, err := ask(action, version)
				refusedWith(e, err, codes.InvalidArgument, message)
			}
		}
		for _, version := range []string{"3.6.0", "3.6", "3.6.9"} {
			a, err := ask(validate, version)
			equal(e, "version", must(e, a, err).Version, "3.7")
			equal(e, "revision", a.Header.Revision, e.revision())
		}
		a, err := ask(cancel, "")
		equal(e, "cancelled from", must(e, a, err).Version, "3.7")

		a, err = ask(enable, "3.6.0")
		equal(e, "enabled from", must(e, a, err).Version, "3.7")
		e.await(func() bool { return e.status().StorageVersion == "3.6.0" })
		equal(e, "enabled", e.status().DowngradeInfo.Enabled, true)
		equal(e, "target", e.status().DowngradeInfo.TargetVersion, "3.6.0")
		equal(e, "version", e.status().Version, "3.7.3")
		_, err = ask(enable, "3.6.0")
		refusedWith(e, err, codes.InvalidArgument, wrongTarget)
		_, err = ask(validate, "3.5.0")
		refusedWith(e, err, codes.FailedPrecondition, "etcdserver: cluster has a downgrade job in progress")
		e.put("k", "v")

		a, err = ask(cancel, "")
		must(e, a, err)
		e.await(func() bool { return e.status().StorageVersion == "3.7.0" })
		equal(e, "enabled after that", e.status().DowngradeInfo.Enabled, false)
		equal(e, "target after that", e.status().DowngradeInfo.TargetVersion, "")
	}},
}
