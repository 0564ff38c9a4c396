package logstructured

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stele-db/stele/logstructured/log"
)

// AlarmType says what an alarm is about, in etcd's numbering.
type AlarmType int32

const (
	// AlarmNone stands for all types.
	AlarmNone AlarmType = 0
	// AlarmNoSpace refuses what needs more room, with [log.ErrNoSpace].
	AlarmNoSpace AlarmType = 1
	// AlarmCorrupt refuses every write of a client, with [log.ErrCorrupt].
	AlarmCorrupt AlarmType = 2
)

// Known reports whether t is the type of an alarm that can be raised.
func (t AlarmType) Known() bool { return t == AlarmNoSpace || t == AlarmCorrupt }

// Alarm is raised for a member, holds for all replicas, and stays until somebody clears it.
type Alarm struct {
	Type   AlarmType
	Member uint64
}

// prefixAlarms begins the names of the records of alarms, which are otherwise empty.
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

// alarms are all that are raised.
type alarms struct {
	all              []Alarm
	noSpace, corrupt bool
}

// readAlarms leaves out alarms of unknown types, which clients could raise in older versions.
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

// admit refuses a write of a client if an alarm says so. Its cost is zero if it does not store anything new.
func (as *alarms) admit(c cost) error {
	switch {
	case as.corrupt:
		return fmt.Errorf("%w: an alarm says so", log.ErrCorrupt)
	case as.noSpace && c != (cost{}):
		return fmt.Errorf("%w: an alarm says so", log.ErrNoSpace)
	}
	return nil
}

// admit is what every write of a client asks first, at its place in the log.
func (s *step) admit(c cost) error {
	if err := s.alarms.Of(Records{&s.st.control}).admit(c); err != nil {
		return err
	}
	if c.index > 0 && s.maxIndex > 0 && s.st.indexFull(c.index, s.maxIndex) {
		return errIndexFull
	}
	return nil
}

// Alarms returns those that are raised, by type and member, as they were applied here. While the database is corrupt, or its disk is
// full, an alarm of this replica says so, which is not in the log: nothing can be written there.
func (s *Store) Alarms() []Alarm {
	all := s.alarms.Of(s.Records()).all
	all = s.withOwn(all, AlarmCorrupt, s.Corrupt())
	return s.withOwn(all, AlarmNoSpace, s.Full())
}

// withOwn adds an alarm of this replica to all if it is raised.
func (s *Store) withOwn(all []Alarm, of AlarmType, raised bool) []Alarm {
	if !raised {
		return all
	}
	s.members.mu.Lock()
	own := Alarm{of, s.members.self.ID}
	s.members.mu.Unlock()
	if slices.Contains(all, own) {
		return all
	}
	return append(slices.Clone(all), own)
}

// Corrupt reports whether the database was corrupt when it was last asked.
func (s *Store) Corrupt() bool { return s.health.corrupt.Load() }

// RaiseAlarm raises an alarm unless it is raised, and returns the current revision.
func (s *Store) RaiseAlarm(ctx context.Context, a Alarm) (Revision, error) {
	_, revision, err := s.raise(ctx, a)
	return revision, err
}

// raise also reports whether the alarm was not raised before.
func (s *Store) raise(ctx context.Context, a Alarm) (raised bool, revision Revision, err error) {
	revision, err = s.UpdateRecords(ctx, func(records Records) ([]RecordChange, error) {
		_, already := records.Get(a.record())
		if raised = !already; already {
			return nil, nil
		}
		return []RecordChange{{Name: a.record()}}, nil
	})
	if err != nil {
		return false, revision, err
	}
	if raised {
		s.logger.WithField("alarm", a.Type).WithField("member", fmt.Sprintf("%x", a.Member)).Warn("an alarm was raised")
	}
	return raised, revision, nil
}

// ClearAlarm ends an alarm and tells whether it was raised, and the current revision.
func (s *Store) ClearAlarm(ctx context.Context, a Alarm) (raised bool, revision Revision, err error) {
	revision, err = s.UpdateRecords(ctx, func(records Records) ([]RecordChange, error) {
		if _, raised = records.Get(a.record()); !raised {
			return nil, nil
		}
		return []RecordChange{{Name: a.record(), Remove: true}}, nil
	})
	if err == nil && raised {
		s.logger.WithField("alarm", a.Type).WithField("member", fmt.Sprintf("%x", a.Member)).Info("an alarm was cleared")
	}
	return raised, revision, err
}

// String is etcd's name.
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
