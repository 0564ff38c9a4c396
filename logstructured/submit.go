package logstructured

import (
	"context"
	"errors"
	"fmt"

	"github.com/stele-db/stele/logstructured/log"
)

// call describes a request to the writer, except for its evaluation.
type call struct {
	guard  Guard
	alarms alarmCheck
	// cost is compared with the quota before the request is queued, and with the limit of the index at its place in
	// the log.
	cost cost
	// size approximates the bytes of the request.
	size int
	// last is set if the request is evaluated after all other requests of its append.
	last bool
}

// alarmCheck is when an alarm refuses a request, relative to its guard. The order is etcd's for each method.
type alarmCheck uint8

const (
	// alarmsIgnored is for requests that alarms do not refuse.
	alarmsIgnored alarmCheck = iota
	alarmsBeforeGuard
	alarmsAfterGuard
)

// check returns the error of a request that must not be evaluated at this place in the log.
func (c call) check(ev *evaluation) error {
	if c.alarms == alarmsBeforeGuard {
		if err := ev.checkLimits(c.cost); err != nil {
			return err
		}
	}
	if err := ev.st.pass(c.guard); err != nil {
		return err
	}
	if c.alarms == alarmsAfterGuard {
		return ev.checkLimits(c.cost)
	}
	return nil
}

// pending is a request that was submitted to the writer.
type pending[R any] struct {
	request
	store  *Store
	result R
	answer answer
	// refused is why the request was not queued.
	refused error
}

// submit queues a request for the writer. The caller must call wait. evaluate runs on the writer's goroutine, possibly
// several times.
func submit[R any](ctx context.Context, s *Store, c call, evaluate func(*evaluation) (R, error)) *pending[R] {
	p := &pending[R]{request: request{ctx: ctx, size: int64(c.size), last: c.last}, store: s}
	p.evaluate = func(ev *evaluation) (err error) {
		if err := c.check(ev); err != nil {
			return err
		}
		p.result, err = evaluate(ev)
		p.answer = ev.answer
		return err
	}
	p.refused = s.queue.submit(&p.request)
	return p
}

// wait returns the result once the writes of the request are committed. If it fails, the writer may still use p.result.
func (p *pending[R]) wait() (result R, err error) {
	if p.refused != nil {
		return result, p.refused
	}
	if err := p.store.queue.await(&p.request); err != nil {
		return result, err
	}
	return p.result, p.store.completeCommitted(p.ctx, &p.answer)
}

// completeCommitted reads the values that the answer to a committed write lacks. It retries a failed read, because an
// error would look as if the write had failed.
func (s *Store) completeCommitted(ctx context.Context, a *answer) error {
	if len(a.fills) == 0 {
		return nil
	}
	expired := s.timeouts.start()
	for attempt := 0; ; attempt++ {
		err := a.complete(ctx, &s.values, s.values.lanes.lists)
		if err == nil {
			return nil
		}
		over := false
		select {
		case <-expired:
			over = true
		default:
		}
		if over || ctx.Err() != nil || errors.Is(err, errValueGone) {
			return fmt.Errorf("%w, but its previous value could not be read: %w", log.ErrUnknown, err)
		}
		pause(ctx, backoff(attempt))
	}
}
