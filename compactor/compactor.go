// Package compactor compacts the history on one of three schedules: kine's interval, etcd's periodic and etcd's
// revision mode. Without a schedule only clients compact.
//
// Any number of replicas may run it at the same time: a revision that another replica has compacted counts as
// compacted. A compaction that fails is logged and retried; it never ends the process.
package compactor

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/logstructured"
)

// Store is the part of [logstructured.Store] that a schedule needs.
type Store interface {
	// Revision is the current revision.
	Revision() logstructured.Revision
	// Compact makes revisions below revision unreadable.
	Compact(
		ctx context.Context, guard logstructured.Guard, revision logstructured.Revision, physical bool,
	) (logstructured.Revision, error)
}

// Compactor compacts Store until its context ends.
type Compactor struct {
	// Store and Logger are required.
	Store  Store
	Logger *logrus.Entry
	// Schedule is one of [Interval], [Periodic] and [Revision]; nil compacts nothing.
	Schedule Schedule
	// Timeout ends one compaction; 0 is [DefaultTimeout].
	Timeout time.Duration
}

// Schedule decides when to compact, and to which revision.
type Schedule interface {
	// next returns the time until the next call of target.
	next() time.Duration
	// target returns the revision to compact to. Below 2 there is nothing to compact.
	target(now time.Time, current logstructured.Revision) logstructured.Revision
	// compacted reports to the schedule that revisions below the last target are compacted.
	compacted(now time.Time)
}

// DefaultTimeout is the default of kine.
const DefaultTimeout = 5 * time.Second

// Run compacts on schedule, and returns nil when ctx has ended.
func (c *Compactor) Run(ctx context.Context) error {
	if c.Schedule == nil {
		return nil
	}
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	// The first call starts the clock of a schedule that records revisions; it never compacts.
	c.Schedule.target(time.Now(), c.Store.Revision())

	var done logstructured.Revision
	timer := time.NewTimer(c.Schedule.next())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		target := c.Schedule.target(time.Now(), c.Store.Revision())
		if target > 1 && target > done && c.compact(ctx, target, timeout) {
			done = target
			c.Schedule.compacted(time.Now())
		}
		timer.Reset(c.Schedule.next())
	}
}

func (c *Compactor) compact(ctx context.Context, target logstructured.Revision, timeout time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	start := time.Now()
	_, err := c.Store.Compact(ctx, logstructured.Unguarded, target, false)
	log := c.Logger.WithFields(logrus.Fields{"revision": target, "took": time.Since(start)})
	switch {
	case err == nil:
		log.Debug("compacted the history on schedule")
		return true
	case errors.Is(err, logstructured.ErrCompacted):
		log.Debug("history was compacted already")
		return true
	default:
		if !errors.Is(err, context.Canceled) {
			log.WithError(err).Warn("scheduled compaction failed; it will be tried again")
		}
		return false
	}
}

// Interval is kine's schedule. Every Every, plus or minus Jitter percent, it compacts everything but the newest Retain
// revisions.
type Interval struct {
	Every  time.Duration
	Jitter int
	Retain logstructured.Revision
}

func (s Interval) next() time.Duration {
	if s.Jitter <= 0 {
		return s.Every
	}
	spread := float64(s.Every) * float64(s.Jitter) / 100
	return time.Duration(float64(s.Every) + spread*(2*rand.Float64()-1))
}

func (s Interval) target(_ time.Time, current logstructured.Revision) logstructured.Revision {
	return current - s.Retain
}

func (Interval) compacted(time.Time) {}

// revisionInterval is the interval of etcd (server/etcdserver/api/v3compactor/revision.go).
const revisionInterval = 5 * time.Minute

// Revision is etcd's revision mode. Every five minutes it compacts everything but the newest Retain revisions.
type Revision struct {
	Retain logstructured.Revision
}

func (Revision) next() time.Duration { return revisionInterval }

func (s Revision) target(_ time.Time, current logstructured.Revision) logstructured.Revision {
	return current - s.Retain
}

func (Revision) compacted(time.Time) {}

// Periodic is etcd's periodic mode (server/etcdserver/api/v3compactor/periodic.go): it keeps the history of the last
// Keep. It records the revision ten times per interval, which is the smaller of Keep and an hour. Once Keep has passed,
// it compacts to the newest recorded revision that is at least Keep old, and repeats that once per interval.
type Periodic struct {
	keep  time.Duration
	every time.Duration
	notes []note
	// due is the earliest time of the next compaction.
	due time.Time
}

type note struct {
	at       time.Time
	revision logstructured.Revision
}

const notesPerInterval = 10

// NewPeriodic returns the schedule that keeps the history of the last keep (> 0).
func NewPeriodic(keep time.Duration) *Periodic {
	return &Periodic{keep: keep, every: min(keep, time.Hour)}
}

// Keep is the time for which the history is kept.
func (s *Periodic) Keep() time.Duration { return s.keep }

func (s *Periodic) next() time.Duration { return max(s.every/notesPerInterval, time.Millisecond) }

func (s *Periodic) target(now time.Time, current logstructured.Revision) logstructured.Revision {
	if s.due.IsZero() {
		s.due = now.Add(s.keep)
	}
	s.notes = append(s.notes, note{at: now, revision: current})
	// The target is the newest note that is at least keep old. Older notes are dropped.
	oldest := -1
	for i, n := range s.notes {
		if now.Sub(n.at) < s.keep {
			break
		}
		oldest = i
	}
	if oldest < 0 {
		return 0
	}
	s.notes = s.notes[oldest:]
	if now.Before(s.due) {
		return 0
	}
	return s.notes[0].revision
}

func (s *Periodic) compacted(now time.Time) { s.due = now.Add(s.every) }
