package connect

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// Essential makes a connection that a log cannot do without, such as the one for appending.
type Essential[C any] struct {
	source  Source[C]
	refused atomic.Bool
}

// NewEssential returns an Essential whose source has a MakeRoom.
func NewEssential[C any](source Source[C]) *Essential[C] { return &Essential[C]{source: source} }

// Open makes the connection. While the server refuses it, Open makes room for it and retries until ctx ends.
func (e *Essential[C]) Open(ctx context.Context) (C, error) {
	c, err := e.source.Open(ctx)
	for wait := 10 * time.Millisecond; e.source.Refused(err); wait = min(2*wait, time.Second) {
		e.refused.Store(true)
		e.source.MakeRoom(err)
		if ended := Pause(ctx, wait); ended != nil {
			return c, fmt.Errorf("%w: %w", ended, err)
		}
		c, err = e.source.Open(ctx)
	}
	e.refused.Store(false)
	return c, err
}

// Refused reports whether the server refused the connection at the last attempt.
func (e *Essential[C]) Refused() bool { return e.refused.Load() }
