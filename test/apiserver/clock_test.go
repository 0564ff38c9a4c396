package apiserver

import (
	"sync"
	"testing"
	"time"

	"k8s.io/utils/clock"
)

// compactionPeriod is the interval at which a cache checks for compactions of its store. No other timer has it.
const compactionPeriod = 15 * time.Second

// compactionClock is the real clock, except that the test fires the timer of a cache's checks for compactions.
type compactionClock struct {
	clock.RealClock
	mu    sync.Mutex
	timer *steppedTimer
}

// NewTimer implements clock.Clock.
func (c *compactionClock) NewTimer(d time.Duration) clock.Timer {
	if d != compactionPeriod {
		return c.RealClock.NewTimer(d)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = &steppedTimer{fire: make(chan time.Time), set: make(chan struct{})}
	return c.timer
}

// pass fires the timer, and waits until the cache has finished its check. A cache without checks has no timer.
func (c *compactionClock) pass(t *testing.T) {
	t.Helper()
	if !watchesCompactions() {
		return
	}
	var timer *steppedTimer
	await(t, "the cache looks for compactions", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		timer = c.timer
		return timer != nil
	})
	select {
	case timer.fire <- time.Now():
		<-timer.set
	case <-time.After(30 * time.Second):
		t.Fatal("the cache does not wait for its timer")
	}
}

// steppedTimer fires when a test sends to fire. Reset sends to set, when the cache has handled the event.
type steppedTimer struct {
	fire chan time.Time
	set  chan struct{}
}

// C implements clock.Timer.
func (s *steppedTimer) C() <-chan time.Time { return s.fire }

// Stop implements clock.Timer.
func (*steppedTimer) Stop() bool { return true }

// Reset implements clock.Timer.
func (s *steppedTimer) Reset(time.Duration) bool {
	s.set <- struct{}{}
	return false
}
