// Package lifetime ends the calls of a log when the log is closed.
package lifetime

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrClosed is the error of calls that are in progress when a log is closed, and of later ones.
var ErrClosed = errors.New("log is closed")

// Calls are the calls in progress of one log. The zero value is ready to use.
type Calls struct {
	mu     sync.Mutex
	closed bool
	next   uint64
	// cancel ends the calls in progress, by number.
	cancel  map[uint64]context.CancelCauseFunc
	running sync.WaitGroup
}

// Begin registers a call. The returned context ends when ctx ends or Close is called. The caller calls done at the end
// of the call. The error is that of ctx, or [ErrClosed].
func (c *Calls) Begin(ctx context.Context) (_ context.Context, done func(), err error) {
	ctx, id, err := c.begin(ctx)
	if err != nil {
		return nil, nil, err
	}
	return ctx, func() { c.end(id) }, nil
}

// begin returns the number of the call.
func (c *Calls) begin(ctx context.Context) (_ context.Context, id uint64, err error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	bound, cancel := context.WithCancelCause(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		cancel(ErrClosed)
		return nil, 0, ErrClosed
	}
	if c.cancel == nil {
		c.cancel = map[uint64]context.CancelCauseFunc{}
	}
	c.next++
	c.cancel[c.next] = cancel
	c.running.Add(1)
	return bound, c.next, nil
}

// Run runs f as a call: its context ends when ctx ends or Close is called. The error of f gets the reason why the
// context ended (see [Because]).
func (c *Calls) Run(ctx context.Context, f func(context.Context) error) error {
	ctx, id, err := c.begin(ctx)
	if err != nil {
		return err
	}
	defer c.end(id)
	return Because(ctx, f(ctx))
}

func (c *Calls) end(id uint64) {
	c.mu.Lock()
	cancel := c.cancel[id]
	delete(c.cancel, id)
	c.mu.Unlock()
	cancel(nil)
	c.running.Done()
}

// Close ends the calls in progress, waits for them, and refuses later ones. It returns false at once if it was called
// before.
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

// Ended returns the reason why the context of a call ended: [ErrClosed], or the error of the caller's context. It
// returns nil if the context has not ended. It also compares the deadline with the clock, because a connection has a
// timer of its own, which may fire just before the context's.
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

// Because adds the reason why the context of a call ended, if it did, to the error of the call.
func Because(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ended := Ended(ctx); ended != nil && !errors.Is(err, ended) {
		return fmt.Errorf("%w: %w", ended, err)
	}
	return err
}
