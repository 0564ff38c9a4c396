package logstructured

import (
	"context"
	"sync/atomic"
	"time"
)

// timeouts ends requests that take too long, without a timer for each of them. Requests that begin within the same
// sixteenth of the timeout share a channel, which is closed when the timeout of the last one has passed. No request
// ends too early, and none much too late.
type timeouts struct {
	timeout time.Duration

	// newest holds the channel of requests that begin now. open holds the channels that are not closed yet, the oldest
	// first. Only run and stop change newest and use open.
	newest atomic.Pointer[expiring]
	open   []*expiring
	// stopped is closed once the store has stopped.
	stopped chan struct{}
}

type expiring struct{ over chan struct{} }

const timeoutSteps = 16

func newTimeouts(timeout time.Duration) *timeouts {
	t := &timeouts{timeout: timeout, stopped: make(chan struct{})}
	t.extend()
	return t
}

func (t *timeouts) extend() {
	e := &expiring{make(chan struct{})}
	t.open = append(t.open, e)
	t.newest.Store(e)
}

// start returns a channel that is closed when the timeout of a request that begins now has passed, or when the store
// has stopped.
func (t *timeouts) start() <-chan struct{} { return t.newest.Load().over }

// run ends requests whose timeout has passed, until ctx ends.
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

// cause returns why a channel of start was closed.
func (t *timeouts) cause() error {
	select {
	case <-t.stopped:
		return ErrStopped
	default:
		return ErrTimeout
	}
}

// bound limits ctx to the timeout. It creates a timer, so it is for rare waits; every request uses start.
func (t *timeouts) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= t.timeout {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, t.timeout, ErrTimeout)
}

// stop ends all requests, including those that begin later. run must have returned.
func (t *timeouts) stop() {
	close(t.stopped)
	for _, e := range t.open {
		close(e.over)
	}
	t.open = nil
}
