package server

import (
	"context"
	"slices"
	"sync"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// fairQueue runs a bounded number of requests at once. Waiting requests are served round-robin by client, so that one
// client with many requests delays another client by one request at a time.
type fairQueue struct {
	// perClient bounds the waiting requests of one client. Once waiting reaches total, each client may have only one.
	perClient, total int

	mu      sync.Mutex
	free    int
	waiting int
	// queues holds the waiting requests by client. order holds the clients that have any, the next one first.
	queues map[string][]chan struct{}
	order  []string
}

func newFairQueue(running, perClient, total int) *fairQueue {
	return &fairQueue{perClient: perClient, total: total, free: running, queues: map[string][]chan struct{}{}}
}

// acquire waits until a request of client may run. The caller must call release when the request ends. It fails with
// etcd's error if too many requests wait.
func (q *fairQueue) acquire(ctx context.Context, client string) error {
	ready, err := q.enter(client)
	if err != nil {
		return err
	}
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		q.leave(client, ready)
		return context.Cause(ctx)
	}
}

// enter returns a channel that is closed once the request may run.
func (q *fairQueue) enter(client string) (chan struct{}, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	ready := make(chan struct{})
	if q.free > 0 { // no request waits
		q.free--
		close(ready)
		return ready, nil
	}
	own := q.queues[client]
	if len(own) >= q.perClient || len(own) > 0 && q.waiting >= q.total {
		return nil, rpctypes.ErrGRPCRequestTooManyRequests
	}
	if len(own) == 0 {
		q.order = append(q.order, client)
	}
	q.queues[client] = append(own, ready)
	q.waiting++
	return ready, nil
}

// leave withdraws a request that no longer waits. The request may have become ready in the meantime.
func (q *fairQueue) leave(client string, ready chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-ready:
		q.next()
		return
	default:
	}
	q.waiting--
	own := slices.DeleteFunc(q.queues[client], func(other chan struct{}) bool { return other == ready })
	q.queues[client] = own
	if len(own) == 0 {
		delete(q.queues, client)
		q.order = slices.DeleteFunc(q.order, func(other string) bool { return other == client })
	}
}

// release frees the place of a request that has ended.
func (q *fairQueue) release() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.next()
}

// next gives a free place to the next client. q.mu is held.
func (q *fairQueue) next() {
	if len(q.order) == 0 {
		q.free++
		return
	}
	client := q.order[0]
	q.order = q.order[1:]
	own := q.queues[client]
	close(own[0])
	q.waiting--
	if own = own[1:]; len(own) == 0 {
		delete(q.queues, client)
		return
	}
	q.queues[client] = own
	q.order = append(q.order, client)
}
