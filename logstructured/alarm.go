package logstructured

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/stele-db/stele/logstructured/log"
)

// AlarmType is the type of an alarm, in etcd's numbering.
type AlarmType int32

const (
	// AlarmNone stands for all types.
	AlarmNone AlarmType = 0
	// AlarmNoSpace refuses writes that need more space, with [log.ErrNoSpace].
	AlarmNoSpace AlarmType = 1
	// AlarmCorrupt refuses every write of a client, with [log.ErrCorrupt].
	AlarmCorrupt AlarmType = 2
)

// Known reports whether t is the type of an alarm that can be raised.
func (t AlarmType) Known() bool { return t == AlarmNoSpace || t == AlarmCorrupt }

// Alarm is raised for a member. It applies to all replicas and stays until a client clears it.
type Alarm struct {
	Type   AlarmType
	Member uint64
}

// prefixAlarms is the prefix of the names of alarm records. The records have no value.
const prefixAlarms = "alarm/"

func (a Alarm) record() string { return fmt.Sprintf("%s%d/%016x", prefixAlarms, a.Type, a.Member) }

func parseAlarm(name string) (a Alarm, err error) {
	kind, member, _ := strings.Cut(strings.TrimPrefix(name, prefixAlarms), "/")
	n, err := strconv.ParseInt(kind, 10, 32)
	if err != nil {
		return a, err
	}
	a.Type = AlarmType(n)
	a.Member, err = strconv.ParseUint(member, 16, 64)
	return a, err
}

// alarms holds all raised alarms.
type alarms struct {
	all              []Alarm
	noSpace, corrupt bool
}

// readAlarms returns the alarms in records. It leaves out alarms of unknown types, which clients could raise in older
// versions.
func readAlarms(records Records) *alarms {
	as := &alarms{}
	records.Ascend(prefixAlarms, func(name string, _ []byte) bool {
		if a, err := parseAlarm(name); err == nil && a.Type.Known() {
			as.all = append(as.all, a)
			as.noSpace = as.noSpace || a.Type == AlarmNoSpace
			as.corrupt = as.corrupt || a.Type == AlarmCorrupt
		}
		return true
	})
	return as
}

// check refuses a write of a client if an alarm forbids it. The cost is zero if the write stores nothing new.
func (as *alarms) check(c cost) error {
	switch {
	case as.corrupt:
		return fmt.Errorf("%w: the alarm CORRUPT is active", log.ErrCorrupt)
	case as.noSpace && c != (cost{}):
		return fmt.Errorf("%w: the alarm NOSPACE is active", log.ErrNoSpace)
	}
	return nil
}

// String returns etcd's name of the type.
func (t AlarmType) String() string {
	switch t {
	case AlarmNone:
		return "NONE"
	case AlarmNoSpace:
		return "NOSPACE"
	case AlarmCorrupt:
		return "CORRUPT"
	}
	return strconv.Itoa(int(t))
}
