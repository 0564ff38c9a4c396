package logstructured

import (
	"context"
	"sync"
)

// hashKey identifies a hash: of the history up to revision above the compact revision, in a term.
type hashKey struct {
	revision, compact Revision
	term              uint64
}

// hashes shares one computation among concurrent requests for the same hash.
type hashes struct {
	mu      sync.Mutex
	running map[hashKey]*hashing
}

// hashing is a computation. hash and err are set when done is closed.
type hashing struct {
	// waiting is the number of requests for it, guarded by hashes.mu. The last request to give up cancels the
	// computation.
	waiting int
	cancel  context.CancelFunc
	done    chan struct{}
	hash    uint32
	err     error
}

// do returns the result of compute, or the cause of ctx's end if ctx ends first. The context of compute ends when no
// request waits for it.
func (h *hashes) do(ctx context.Context, key hashKey, compute func(context.Context) (uint32, error)) (uint32, error) {
	run := h.join(ctx, key, compute)
	defer h.leave(key, run)
	select {
	case <-run.done:
		return run.hash, run.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

func (h *hashes) join(ctx context.Context, key hashKey, compute func(context.Context) (uint32, error)) *hashing {
	h.mu.Lock()
	defer h.mu.Unlock()
	run := h.running[key]
	if run == nil {
		run = &hashing{done: make(chan struct{})}
		ctx, run.cancel = context.WithCancel(context.WithoutCancel(ctx))
		if h.running == nil {
			h.running = map[hashKey]*hashing{}
		}
		h.running[key] = run
		go func() {
			defer close(run.done)
			run.hash, run.err = compute(ctx)
			h.mu.Lock()
			defer h.mu.Unlock()
			h.forget(key, run)
		}()
	}
	run.waiting++
	return run
}

// leave removes one request from run, and cancels run if it was the last.
func (h *hashes) leave(key hashKey, run *hashing) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if run.waiting--; run.waiting == 0 {
		h.forget(key, run)
		run.cancel()
	}
}

// forget removes run, so that later requests start a new computation. h.mu is held.
func (h *hashes) forget(key hashKey, run *hashing) {
	if h.running[key] == run {
		delete(h.running, key)
	}
}
