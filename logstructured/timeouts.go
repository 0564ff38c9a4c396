package logstructured

import (
	"context"
	"sync/atomic"
	"time"
)

// timeouts ends requests that last too long, without a timer for each of them: those that begin within the same
// sixteenth of the timeout share a channel, which is closed when the last of them has had its time. So none ends too
// early, and none much too late.
type timeouts struct {
	timeout time.Duration

	// newest is what requests that begin now wait for. Only run and stop change it, and they have open for themselves:
	// the channels that are not closed yet, the oldest first.
	newest atomic.Pointer[expiring]
	open   []*expiring
}

type expiring struct{ over chan struct{} }

const timeoutSteps = 16

func newTimeouts(timeout time.Duration) *timeouts {
	t := &timeouts{timeout: timeout}
	t.extend()
	return t
}

func (t *timeouts) extend() {
	e := &expiring{make(chan struct{})}
	t.open = append(t.open, e)
	t.newest.Store(e)
}

// begin returns a channel that is closed when a request that begins now has had its time, or when everything has
// stopped.
func (t *timeouts) begin() <-chan struct{} { return t.newest.Load().over }

// run ends requests until ctx ends.
func (t *timeouts) run(ctx context.Context) error {
	ticker := time.NewTicker(max(t.timeout/timeoutSteps, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if t.extend(); len(t.open) > timeoutSteps+1 {
				close(t.open[0].over)
				t.open = t.open[1:]
			}
		}
	}
}

// stop ends all requests, those that are yet to begin too. run must have returned.
func (t *timeouts) stop() {
	for _, e := range t.open {
		close(e.over)
	}
	t.open = nil
}
