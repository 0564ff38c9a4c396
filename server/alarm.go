package server

import (
	"context"
	"fmt"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/stele-db/stele/logstructured"
)

// Alarm lists, raises or clears alarms. They hold for all replicas.
func (s *maintenanceServer) Alarm(ctx context.Context, r *pb.AlarmRequest) (*pb.AlarmResponse, error) {
	resp := &pb.AlarmResponse{}
	revision, err := s.alarm(ctx, r, resp)
	if err != nil {
		return nil, toStatus(err)
	}
	resp.Header = s.header(&pb.ResponseHeader{}, revision)
	return resp, nil
}

func (s *maintenanceServer) alarm(ctx context.Context, r *pb.AlarmRequest, resp *pb.AlarmResponse) (revision logstructured.Revision, err error) {
	alarm := logstructured.Alarm{Type: logstructured.AlarmType(r.Alarm), Member: r.MemberID}
	switch {
	case r.Action == pb.AlarmRequest_ACTIVATE && r.Alarm != pb.AlarmType_NONE:
		resp.Alarms = []*pb.AlarmMember{{MemberID: r.MemberID, Alarm: r.Alarm}}
		return s.store.RaiseAlarm(ctx, alarm)
	case r.Action == pb.AlarmRequest_DEACTIVATE && r.Alarm != pb.AlarmType_NONE:
		raised, revision, err := s.store.ClearAlarm(ctx, alarm)
		if raised {
			resp.Alarms = []*pb.AlarmMember{{MemberID: r.MemberID, Alarm: r.Alarm}}
		}
		return revision, err
	}
	if err := s.store.Ready(ctx); err != nil {
		return 0, err
	}
	if r.Action == pb.AlarmRequest_GET {
		resp.Alarms = s.alarms(r.Alarm)
	}
	return s.store.Revision(), nil
}

// alarms returns those of a type, NONE being all, in no order that etcd would promise.
func (m *member) alarms(of pb.AlarmType) (alarms []*pb.AlarmMember) {
	for _, a := range m.store.Alarms() {
		if t := pb.AlarmType(a.Type); of == pb.AlarmType_NONE || of == t {
			alarms = append(alarms, &pb.AlarmMember{MemberID: a.Member, Alarm: t})
		}
	}
	return alarms
}

// alarmTexts are the alarms in Status.
func (m *member) alarmTexts() (texts []string) {
	for _, a := range m.alarms(pb.AlarmType_NONE) {
		texts = append(texts, a.String())
	}
	return texts
}

// unhealthy is the reason of /health if an alarm is raised whose name is not among excluded, and otherwise empty.
func (m *member) unhealthy(excluded []string) string {
	for _, a := range m.alarms(pb.AlarmType_NONE) {
		switch name := a.Alarm.String(); {
		case slices.Contains(excluded, name):
		case a.Alarm == pb.AlarmType_NOSPACE, a.Alarm == pb.AlarmType_CORRUPT:
			return "ALARM " + name
		default:
			return "ALARM UNKNOWN"
		}
	}
	return ""
}

// intact fails while the alarm is raised that the data are corrupt.
func (m *member) intact(context.Context) error {
	if len(m.alarms(pb.AlarmType_CORRUPT)) > 0 {
		return fmt.Errorf("alarm activated: %v", pb.AlarmType_CORRUPT)
	}
	return nil
}
