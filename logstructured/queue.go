package logstructured

import (
	"context"

	"golang.org/x/sync/semaphore"
)

const (
	// maxQueuedBytes bounds the bytes of the requests in the writer's queue. Further requests wait in front of it.
	maxQueuedBytes = 64 << 20
	// maxQueuedRequests bounds their number.
	maxQueuedRequests = 4096
)

// queue holds the requests that wait for the writer.
type queue struct {
	requests chan *request
	// room bounds the bytes of the requests.
	room     *semaphore.Weighted
	timeouts *timeouts
	// group decides how many requests an append should have.
	group groupCommit
}

func newQueue(t *timeouts) queue {
	return queue{
		requests: make(chan *request, maxQueuedRequests), room: semaphore.NewWeighted(maxQueuedBytes),
		timeouts: t, group: newGroupCommit(),
	}
}

// submit queues a request. If it returns nil, the caller must call await.
func (q *queue) submit(r *request) error {
	r.expired, r.done = q.timeouts.start(), make(chan error, 1)
	r.size = min(r.size+1024, maxQueuedBytes)
	if err := q.reserve(r.ctx, r.size); err != nil {
		return err
	}
	select {
	case q.requests <- r:
		q.group.arrived(len(q.requests))
		return nil
	case <-r.ctx.Done():
		q.room.Release(r.size)
		return context.Cause(r.ctx)
	case <-r.expired:
		q.room.Release(r.size)
		return q.timeouts.cause()
	}
}

// await waits for the outcome of a request.
func (q *queue) await(r *request) error {
	defer q.room.Release(r.size)
	select {
	case err := <-r.done:
		return err
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	case <-r.expired:
		select {
		case err := <-r.done: // the last append was answered before the store stopped
			return err
		default:
			return q.timeouts.cause()
		}
	}
}

// reserve waits until there is room for size bytes.
func (q *queue) reserve(ctx context.Context, size int64) error {
	if q.room.TryAcquire(size) {
		return nil
	}
	ctx, cancel := q.timeouts.bound(ctx)
	defer cancel()
	if q.room.Acquire(ctx, size) != nil {
		return context.Cause(ctx)
	}
	return nil
}
