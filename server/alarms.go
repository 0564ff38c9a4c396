package server

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/stele-db/stele/logstructured"
)

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
