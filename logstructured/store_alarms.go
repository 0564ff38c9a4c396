package logstructured

import (
	"context"
	"fmt"
	"slices"
)

// Alarms returns the active alarms, by type and member, and the current revision. If the database is corrupt, it
// returns the alarms that were applied here, so that the alarm for it is visible.
func (s *Store) Alarms(ctx context.Context, guard Guard) ([]Alarm, Revision, error) {
	if err := s.linearize(ctx); err != nil && !s.Corrupt() {
		return nil, 0, err
	}
	snap := s.snapshot()
	if err := snap.pass(guard); err != nil {
		return nil, 0, err
	}
	return s.AppliedAlarms(), snap.revision, nil
}

// AppliedAlarms returns the active alarms, by type and member, as they were applied here. While the database is corrupt
// or its disk is full, they include an alarm of this replica that is not in the log, because it cannot be written.
func (s *Store) AppliedAlarms() []Alarm {
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

// Corrupt reports whether the database was corrupt when it was last queried.
func (s *Store) Corrupt() bool { return s.health.corrupt.Load() }

// RaiseAlarm raises an alarm unless it is active, and returns the current revision.
func (s *Store) RaiseAlarm(ctx context.Context, guard Guard, a Alarm) (Revision, error) {
	_, revision, err := s.raise(ctx, guard, a)
	return revision, err
}

// raise is RaiseAlarm, and also reports whether the alarm was not active before.
func (s *Store) raise(ctx context.Context, guard Guard, a Alarm) (raised bool, revision Revision, err error) {
	revision, err = s.UpdateRecords(ctx, guard, func(records Records) ([]RecordChange, error) {
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

// ClearAlarm clears an alarm. It reports whether the alarm was active, and returns the current revision.
func (s *Store) ClearAlarm(ctx context.Context, guard Guard, a Alarm) (raised bool, revision Revision, err error) {
	revision, err = s.UpdateRecords(ctx, guard, func(records Records) ([]RecordChange, error) {
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
