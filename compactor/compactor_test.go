package compactor

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/logstructured"
)

// clockStore is a store whose revision increases by one every rate. It records the revisions and times of the calls of
// Compact.
type clockStore struct {
	start time.Time
	rate  time.Duration
	fail  func(n int) error

	mu    sync.Mutex
	calls []call
}

type call struct {
	after    time.Duration
	revision logstructured.Revision
}

func (s *clockStore) Revision() logstructured.Revision {
	return 1 + logstructured.Revision(time.Since(s.start)/s.rate)
}

func (s *clockStore) Compact(
	_ context.Context, _ logstructured.Guard, r logstructured.Revision, physical bool,
) (logstructured.Revision, error) {
	if physical {
		return 0, errors.New("a schedule never waits for the rows")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call{after: time.Since(s.start), revision: r})
	if s.fail != nil {
		if err := s.fail(len(s.calls)); err != nil {
			return 0, err
		}
	}
	return s.Revision(), nil
}

// run runs a schedule for the given time of a fake clock, on a store whose revision increases every second.
func run(t *testing.T, schedule Schedule, during time.Duration, fail func(n int) error) []call {
	t.Helper()
	var calls []call
	synctest.Test(t, func(t *testing.T) {
		log := logrus.New()
		log.SetOutput(io.Discard)
		store := &clockStore{start: time.Now(), rate: time.Second, fail: fail}
		c := &Compactor{Store: store, Logger: logrus.NewEntry(log), Schedule: schedule}
		ctx, cancel := context.WithTimeout(t.Context(), during)
		defer cancel()
		if err := c.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
		calls = store.calls
	})
	return calls
}

func TestIntervalKeepsTheNewestRevisions(t *testing.T) {
	got := run(t, Interval{Every: time.Minute, Retain: 100}, 4*time.Minute+time.Second, nil)
	want := []call{
		// After one minute there are 61 revisions: fewer than are retained.
		{2 * time.Minute, 21}, {3 * time.Minute, 81}, {4 * time.Minute, 141},
	}
	if !slices.Equal(got, want) {
		t.Errorf("compactions %v, want %v", got, want)
	}
}

func TestIntervalJitterStaysWithinItsPercentage(t *testing.T) {
	s := Interval{Every: time.Minute, Jitter: 10}
	seen := map[time.Duration]bool{}
	for range 1000 {
		d := s.next()
		if d < 54*time.Second || d > 66*time.Second {
			t.Fatalf("waits %v, want a minute give or take 6 s", d)
		}
		seen[d] = true
	}
	if len(seen) < 100 {
		t.Errorf("only %d different waits in 1000", len(seen))
	}
}

func TestRevisionModeLooksEveryFiveMinutes(t *testing.T) {
	got := run(t, Revision{Retain: 250}, 10*time.Minute+time.Second, nil)
	want := []call{{5 * time.Minute, 51}, {10 * time.Minute, 351}}
	if !slices.Equal(got, want) {
		t.Errorf("compactions %v, want %v", got, want)
	}
}

func TestPeriodicKeepsThatMuchHistory(t *testing.T) {
	for _, keep := range []time.Duration{10 * time.Minute, time.Hour, 5 * time.Hour} {
		got := run(t, NewPeriodic(keep), 3*keep+time.Minute, nil)
		every := min(keep, time.Hour)
		if len(got) < 2 {
			t.Fatalf("keep %v: compactions %v, want several", keep, got)
		}
		for i, c := range got {
			if c.after < keep {
				t.Errorf("keep %v: compacted after %v already", keep, c.after)
			}
			if i > 0 && c.after-got[i-1].after != every {
				t.Errorf("keep %v: compactions %v and %v are not %v apart", keep, got[i-1].after, c.after, every)
			}
			// The revision increases every second and is 1 at time 0: revision r was current from second r-1 on.
			kept := c.after - time.Duration(c.revision-1)*time.Second
			if kept < keep || kept > keep+every/notesPerInterval {
				t.Errorf("keep %v: after %v compacted to %d, which keeps %v", keep, c.after, c.revision, kept)
			}
		}
	}
}

func TestAFailureIsTriedAgain(t *testing.T) {
	broken := func(n int) error {
		if n == 1 {
			return logstructured.ErrUnavailable
		}
		return nil
	}
	got := run(t, NewPeriodic(10*time.Minute), 15*time.Minute, broken)
	if len(got) != 2 || got[1].after-got[0].after != time.Minute {
		t.Errorf("compactions %v, want one that fails and another one a tenth of the period later", got)
	}
}

// Another replica has just compacted to the same revision: the compaction is not repeated, and no warning is logged.
func TestCompactedByAnotherReplicaCounts(t *testing.T) {
	var out recorder
	synctest.Test(t, func(t *testing.T) {
		log := logrus.New()
		log.SetOutput(&out)
		store := &clockStore{start: time.Now(), rate: time.Hour * 1000,
			fail: func(int) error { return logstructured.ErrCompacted }}
		store.start = store.start.Add(-500 * 1000 * time.Hour)
		c := &Compactor{Store: store, Logger: logrus.NewEntry(log), Schedule: Interval{Every: time.Minute, Retain: 10}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := c.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
		if len(store.calls) != 1 {
			t.Errorf("%d compactions to a revision that did not move, want 1", len(store.calls))
		}
	})
	if len(out) != 0 {
		t.Errorf("logged: %s", out)
	}
}

func TestNoScheduleCompactsNothing(t *testing.T) {
	c := &Compactor{}
	if err := c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

type recorder []byte

func (r *recorder) Write(p []byte) (int, error) { *r = append(*r, p...); return len(p), nil }
