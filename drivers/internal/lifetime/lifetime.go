// Package lifetime bounds the calls of a log by the life of the log.
package lifetime

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrClosed answers calls that are under way when a log is closed, and later ones.
var ErrClosed = errors.New("log is closed")

// Calls are the calls of one log that are under way. The zero value is ready.
type Calls struct {
	mu     sync.Mutex
	closed bool
	next   uint64
	// cancel ends the calls that are under way, by number.
	cancel  map[uint64]context.CancelCauseFunc
	running sync.WaitGroup
}

// Begin registers a call. The returned context ends with ctx, and with Close. The caller calls done. An error is ctx's,
// or [ErrClosed].
func (c *Calls) Begin(ctx context.Context) (_ context.Context, done func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	bound, cancel := context.WithCancelCause(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		cancel(ErrClosed)
		return nil, nil, ErrClosed
	}
	if c.cancel == nil {
		c.cancel = map[uint64]context.CancelCauseFunc{}
	}
	c.next++
	id := c.next
	c.cancel[id] = cancel
	c.running.Add(1)
	return bound, func() { c.end(id) }, nil
}

func (c *Calls) end(id uint64) {
	c.mu.Lock()
	cancel := c.cancel[id]
	delete(c.cancel, id)
	c.mu.Unlock()
	cancel(nil)
	c.running.Done()
}

// Close ends the calls that are under way, waits for them, and refuses later ones. It reports false, at once, if it was
// called before.
func (c *Calls) Close() bool {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return false
	}
	c.closed = true
	for _, cancel := range c.cancel {
		cancel(ErrClosed)
	}
	c.mu.Unlock()
	c.running.Wait()
	return true
}

// Ended returns why the context of a call ended: [ErrClosed], or the error of the caller's context. It returns nil if
// the context did not end. A connection notices by a timer of its own that a deadline has passed, which may be a moment
// before the context does.
func Ended(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), ErrClosed) {
		return ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// Because adds to the error of a call why its context ended, if it did.
func Because(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ended := Ended(ctx); ended != nil && !errors.Is(err, ended) {
		return fmt.Errorf("%w: %w", ended, err)
	}
	return err
}
