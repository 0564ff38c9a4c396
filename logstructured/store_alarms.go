package logstructured

import (
	"context"
	"fmt"
	"slices"
)

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
