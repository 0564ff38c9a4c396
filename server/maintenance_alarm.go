package server

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
)

// Alarm lists, raises or clears alarms. Alarms are shared by all replicas.
func (s *maintenanceServer) Alarm(ctx context.Context, r *pb.AlarmRequest) (*pb.AlarmResponse, error) {
	resp := &pb.AlarmResponse{}
	revision, err := s.alarm(ctx, r, resp)
	if err != nil {
		return nil, toStatus(err)
	}
	resp.Header = s.header(&pb.ResponseHeader{}, revision)
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
		if slices.ContainsFunc(replicas, func(replica log.Replica) bool { return replica.ID == a.Member }) {
			return nil
		}
	}
	return rpctypes.ErrGRPCMemberNotFound
}

// alarms returns the alarms of one type that were applied on this replica.
func (m *member) alarms(of pb.AlarmType) []*pb.AlarmMember {
	return alarmMembers(m.store.AppliedAlarms(), of)
}

// alarmMembers returns the alarms of one type, or all if the type is NONE. Their order is unspecified in etcd.
func alarmMembers(raised []logstructured.Alarm, of pb.AlarmType) (alarms []*pb.AlarmMember) {
	for _, a := range raised {
		if t := pb.AlarmType(a.Type); of == pb.AlarmType_NONE || of == t {
			alarms = append(alarms, &pb.AlarmMember{MemberID: a.Member, Alarm: t})
		}
	}
	return alarms
}

// maxAlarmTexts is the number of alarms of each type that Status lists.
const maxAlarmTexts = 16

// alarmTexts returns the alarms that Status lists. It bounds them because older versions allowed clients to raise any
// number.
func (m *member) alarmTexts() (texts []string) {
	listed := map[pb.AlarmType]int{}
	for _, a := range m.alarms(pb.AlarmType_NONE) {
		if listed[a.Alarm]++; listed[a.Alarm] <= maxAlarmTexts {
			texts = append(texts, a.String())
		}
	}
	return texts
}

// unhealthy returns the reason why /health fails, and an empty string if it succeeds.
func (m *member) unhealthy(r *http.Request) string {
	query := r.URL.Query()
	for _, a := range m.alarms(pb.AlarmType_NONE) {
		if name := a.Alarm.String(); !slices.Contains(query["exclude"], name) {
			return "ALARM " + name
		}
	}
	if query.Get("serializable") == "true" {
		return rangeError(m.serializableRead(r.Context()))
	}
	if err := m.store.Refused(); err != nil && !m.store.Full() { // a full database raises an alarm
		return "PUT ERROR:" + err.Error()
	}
	return rangeError(m.linearizableRead(r.Context()))
}

func rangeError(err error) string {
	if err != nil {
		return "RANGE ERROR:" + reason(err).Error()
	}
	return ""
}

// intact fails while the CORRUPT alarm is active, or while all requests are refused because the records of users and
// roles cannot be read.
func (m *member) intact(context.Context) error {
	if err := m.auth.current().Err(); err != nil {
		return err
	}
	if len(m.alarms(pb.AlarmType_CORRUPT)) > 0 {
		return fmt.Errorf("alarm activated: %v", pb.AlarmType_CORRUPT)
	}
	return nil
}
