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
	own := Alarm{of, s.members.own().ID}
	if slices.Contains(all, own) {
		return all
	}
	return append(slices.Clone(all), own)
}

// Corrupt reports whether the database was corrupt when it was last queried.
func (s *Store) Corrupt() bool { return s.health.corrupt.Load() }

// RaiseAlarm raises an alarm unless it is active, and returns the current revision.
func (s *Store) RaiseAlarm(ctx context.Context, guard Guard, a Alarm) (Revision, error) {
	_, revision, err := s.setAlarm(ctx, guard, a, true)
	return revision, err
}

// ClearAlarm clears an alarm. It reports whether the alarm was active, and returns the current revision.
func (s *Store) ClearAlarm(ctx context.Context, guard Guard, a Alarm) (cleared bool, revision Revision, err error) {
	return s.setAlarm(ctx, guard, a, false)
}

// setAlarm raises or clears an alarm, and reports whether that changed anything.
func (s *Store) setAlarm(
	ctx context.Context, guard Guard, a Alarm, raise bool,
) (changed bool, revision Revision, err error) {
	revision, err = s.UpdateRecords(ctx, guard, func(records Records) ([]RecordChange, error) {
		_, active := records.Get(a.record())
		if changed = active != raise; !changed {
			return nil, nil
		}
		return []RecordChange{{Name: a.record(), Remove: !raise}}, nil
	})
	if err != nil {
		return false, revision, err
	}
	logger := s.logger.WithField("alarm", a.Type).WithField("member", fmt.Sprintf("%x", a.Member))
	switch {
	case changed && raise:
		logger.Warn("an alarm was raised")
	case changed:
		logger.Info("an alarm was cleared")
	}
	return changed, revision, nil
}
