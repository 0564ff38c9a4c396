package server

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/logstructured"
)

// Alarm lists, raises or clears alarms. Alarms are shared by all replicas.
func (s *maintenanceServer) Alarm(ctx context.Context, r *pb.AlarmRequest) (*pb.AlarmResponse, error) {
	resp := &pb.AlarmResponse{}
	revision, err := s.alarm(ctx, r, resp)
	if err != nil {
		return nil, toStatus(err)
	}
	resp.Header = s.header(revision)
	return resp, nil
}

func (s *maintenanceServer) alarm(
	ctx context.Context, r *pb.AlarmRequest, resp *pb.AlarmResponse,
) (logstructured.Revision, error) {
	if r.Action == pb.AlarmRequest_GET {
		return authorized(ctx, s.auth, r, func(guard logstructured.Guard) (logstructured.Revision, error) {
			raised, revision, err := s.store.Alarms(ctx, guard)
			resp.Alarms = alarmMembers(raised, r.Alarm)
			return revision, err
		})
	}
	if err := s.auth.permitted(ctx, r); err != nil {
		return 0, err
	}
	alarm := logstructured.Alarm{Type: logstructured.AlarmType(r.Alarm), Member: r.MemberID}
	changed := []*pb.AlarmMember{{MemberID: r.MemberID, Alarm: r.Alarm}}
	switch {
	case r.Action == pb.AlarmRequest_ACTIVATE && r.Alarm != pb.AlarmType_NONE:
		if err := s.checkAlarm(ctx, r, alarm); err != nil {
			return 0, err
		}
		resp.Alarms = changed
		return authorized(ctx, s.auth, r, func(guard logstructured.Guard) (logstructured.Revision, error) {
			return s.store.RaiseAlarm(ctx, guard, alarm)
		})
	case r.Action == pb.AlarmRequest_DEACTIVATE && r.Alarm != pb.AlarmType_NONE:
		return authorized(ctx, s.auth, r, func(guard logstructured.Guard) (logstructured.Revision, error) {
			raised, revision, err := s.store.ClearAlarm(ctx, guard, alarm)
			if raised {
				resp.Alarms = changed
			}
			return revision, err
		})
	}
	return s.store.Revision(), nil
}

// checkAlarm refuses an alarm that a server could not have raised: one of an unknown type, or of an unknown member.
// This bounds the number of alarms to two for each replica, and two without a member.
func (s *maintenanceServer) checkAlarm(ctx context.Context, r *pb.AlarmRequest, a logstructured.Alarm) error {
	if !a.Type.Known() {
		return status.Errorf(codes.InvalidArgument, "stele: there is no alarm of type %d", a.Type)
	}
	if a.Member == 0 {
		return nil
	}
	for _, refresh := range []bool{false, true} {
		replicas, err := s.replicas(ctx, r, refresh)
		if err != nil {
			return err
		}
		if contains(replicas, a.Member) {
			return nil
		}
	}
	return rpctypes.ErrGRPCMemberNotFound
}
