package logstructured

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/logstructured/log"
)

// Quota returns the limit on the size of the database in bytes, 0 if there is none.
func (s *Store) Quota() int64 { return max(0, s.quota.bytes) }

// reserveSpace counts bytes against the quota. If they exceed it, it raises the alarm and returns an error.
func (s *Store) reserveSpace(ctx context.Context, bytes int) error {
	if s.quota.bytes <= 0 || bytes == 0 {
		return nil
	}
	fits, err := s.quota.fits(ctx, bytes)
	switch {
	case err != nil:
		return unavailable(ctx, "read the size of the database", err)
	case fits:
		s.quota.count(bytes)
		return nil
	}
	s.raiseNoSpace(ctx, "the quota is used up: delete keys and compact, or raise the quota, and disarm the alarm")
	return fmt.Errorf("%w: the quota of %d bytes is used up", log.ErrNoSpace, s.quota.bytes)
}

// Room returns [log.ErrNoSpace] if the index exceeds its limit, and raises the alarm. It is for records, which are
// small and few.
func (s *Store) Room(ctx context.Context) error {
	if s.opts.MaxIndexBytes <= 0 || !s.snapshot().indexFull(0, s.opts.MaxIndexBytes) {
		return nil
	}
	return s.reportFull(ctx, errIndexFull)
}

// reportFull raises the alarm if err is errIndexFull, and returns err. The alarm stops the writes of all replicas,
// because they hold the same index.
func (s *Store) reportFull(ctx context.Context, err error) error {
	if errors.Is(err, errIndexFull) {
		s.raiseNoSpace(ctx, "the index takes up as much memory as it may: "+
			"delete keys and compact, or raise its limit, and disarm the alarm")
	}
	return err
}

// raiseNoSpace raises the alarm that refuses requests that need more room, unless it is active.
func (s *Store) raiseNoSpace(ctx context.Context, why string) {
	if s.alarms.Of(s.Records()).noSpace {
		return
	}
	raised, _, err := s.setAlarm(ctx, Unguarded, Alarm{AlarmNoSpace, s.members.own().ID}, true)
	logger := s.logger.WithFields(logrus.Fields{
		"index-bytes": s.IndexBytes(), "max-index-bytes": s.opts.MaxIndexBytes, "quota": s.quota.bytes,
	})
	switch {
	case err != nil:
		logger.WithError(err).Warn("could not raise the alarm NOSPACE: " + why)
	case raised:
		logger.Warn(why)
	}
}

// IndexBytes estimates the memory that the index takes up.
func (s *Store) IndexBytes() int64 { return s.snapshot().indexBytes() }

// indexInterval is how often the index is compared with its limit, because other replicas write too.
const indexInterval = time.Second

// watchIndex raises the alarm if the index exceeds its limit. It can do so at the start, or because of writes of other
// replicas.
func (s *Store) watchIndex(ctx context.Context) error {
	for ctx.Err() == nil {
		_ = s.Room(ctx) // which raises the alarm
		pause(ctx, indexInterval)
	}
	return nil
}
