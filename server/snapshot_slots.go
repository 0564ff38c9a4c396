package server

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// maxSnapshots bounds the snapshots that are made and sent at once. Each needs a temporary file as large as the
	// database file of an etcd with the same data.
	maxSnapshots = 2
	// snapshotStall is how long a client may take to read the next piece, and snapshotStallContended how long while
	// another client waits for a slot. With the largest windows of HTTP/2 and TCP, a slow but working connection
	// progresses in steps of megabytes.
	snapshotStall          = 5 * time.Minute
	snapshotStallContended = time.Minute
	// snapshotWait is how long a client waits for a slot. It is longer than a client that does not read can keep a
	// slot.
	snapshotWait = 3 * time.Minute
)

// snapshotSlots bounds the snapshots that are made and sent at once.
type snapshotSlots struct {
	slots   chan struct{}
	waiting atomic.Int32
	// wait bounds the time until a slot is free, stall the time between two pieces, and contended the latter while a
	// client waits for a slot.
	wait, stall, contended time.Duration
}

func newSnapshotSlots() *snapshotSlots {
	return &snapshotSlots{
		slots: make(chan struct{}, maxSnapshots),
		wait:  snapshotWait, stall: snapshotStall, contended: snapshotStallContended,
	}
}

// take waits for a slot. Clients get slots in the order of their requests.
func (s *snapshotSlots) take(ctx context.Context) (release func(), err error) {
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	timer := time.NewTimer(s.wait)
	defer timer.Stop()
	select {
	case s.slots <- struct{}{}:
		return func() { <-s.slots }, nil
	case <-timer.C:
		return nil, status.Errorf(codes.ResourceExhausted,
			"stele: %d other snapshots are being sent, and none of them ended within %s: try again later",
			cap(s.slots), s.wait)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// stalled reports whether a client that read nothing for idle loses its slot.
func (s *snapshotSlots) stalled(idle time.Duration) bool {
	return idle >= s.stall || idle >= s.contended && s.waiting.Load() > 0
}

// stalledError ends a snapshot whose client does not read.
type stalledError struct{ after time.Duration }

func (e stalledError) Error() string {
	return fmt.Sprintf("stele: the snapshot was ended because the client read nothing of it for %s", e.after)
}

// GRPCStatus makes the error a gRPC error.
func (e stalledError) GRPCStatus() *status.Status {
	return status.New(codes.DeadlineExceeded, e.Error())
}

// send runs call in a goroutine of group and returns its error. It returns early if call has not called progress for
// too long, or if ctx has ended. A send to a client that does not read ends only when the request ends.
func (s *snapshotSlots) send(ctx context.Context, group *sync.WaitGroup, call func(progress func()) error) error {
	begin := time.Now()
	var progressed atomic.Int64 // time of the last progress, since begin
	done := make(chan error, 1)
	group.Go(func() {
		done <- call(func() { progressed.Store(int64(time.Since(begin))) })
	})
	ticker := time.NewTicker(s.contended / 10)
	defer ticker.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-ticker.C:
			if idle := time.Since(begin) - time.Duration(progressed.Load()); s.stalled(idle) {
				return stalledError{idle.Round(time.Millisecond)}
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
