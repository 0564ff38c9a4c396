package logstructured

import (
	"context"
	"time"
)

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// backoff returns the pause after an attempt. It grows from 5 ms to a second.
func backoff(attempt int) time.Duration {
	return min(5*time.Millisecond<<min(attempt, 10), time.Second)
}
