package server

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// unaryBytes and streamBytes bound the answers of one connection that are being made or wait to be sent: those to
	// single requests, which clients read as they come, and those of streams, which a client may leave unread while it
	// goes on with its requests. processBytes bounds all of them.
	unaryBytes   = 64 << 20
	streamBytes  = 32 << 20
	processBytes = 512 << 20
	// freeBytes is the size of an answer that needs no room. A stream without room goes on with pieces of this size.
	freeBytes = 32 << 10
	// stallTime is how long a connection may take nothing while others wait for the room that it holds; then it is
	// closed.
	stallTime = 10 * time.Second
	// stallBytes in that time are more than pings and their answers.
	stallBytes = 64 << 10
)

// outbox bounds the bytes of answers that a connection holds. One answer may be larger than the bound if it is alone.
type outbox struct {
	limit int64
	own   *semaphore.Weighted
	all   *outboxes

	mu     sync.Mutex
	held   int64
	closed bool
}

// take waits until there is room for n bytes and returns how many bytes are to be given back.
func (o *outbox) take(ctx context.Context, n int64) (int64, error) {
	n = min(n, o.limit)
	if err := o.own.Acquire(ctx, n); err != nil {
		return 0, context.Cause(ctx)
	}
	if err := o.all.take(ctx, n); err != nil {
		o.own.Release(n)
		return 0, err
	}
	return o.hold(n), nil
}

// try is take if there is room at once, and returns 0 if there is not.
func (o *outbox) try(n int64) int64 {
	n = min(n, o.limit)
	if !o.own.TryAcquire(n) {
		return 0
	}
	if !o.all.bytes.TryAcquire(n) {
		o.own.Release(n)
		return 0
	}
	return o.hold(n)
}

// hold notes that n bytes were taken. Of a closed connection nothing is held.
func (o *outbox) hold(n int64) int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		o.all.bytes.Release(n)
	} else {
		o.held += n
	}
	return n
}

// give returns n bytes that were taken.
func (o *outbox) give(n int64) {
	if n == 0 {
		return
	}
	o.own.Release(n)
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.held -= n
		o.all.bytes.Release(n)
	}
}

// close gives back everything: gRPC does not free what waits on a connection that has ended.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.closed = true
		o.all.bytes.Release(o.held)
	}
}

func (o *outbox) size() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.held
}

// outboxes are those of all connections.
type outboxes struct {
	limit int64
	bytes *semaphore.Weighted
	stall time.Duration

	mu    sync.Mutex
	conns map[*mailbox]struct{}
}

func newOutboxes(limit int64) *outboxes {
	return &outboxes{limit: limit, bytes: semaphore.NewWeighted(limit), stall: stallTime, conns: map[*mailbox]struct{}{}}
}

// take waits until all connections together have room for n bytes. Meanwhile those that hold room and take nothing are
// closed.
func (a *outboxes) take(ctx context.Context, n int64) error {
	if a.bytes.TryAcquire(n) {
		return nil
	}
	done := make(chan struct{})
	defer close(done)
	go a.evict(done)
	if err := a.bytes.Acquire(ctx, n); err != nil {
		return context.Cause(ctx)
	}
	return nil
}

// evict closes the connection that holds most of those that have stalled, again and again until done is closed.
func (a *outboxes) evict(done <-chan struct{}) {
	tick := time.NewTicker(a.stall)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case now := <-tick.C:
			if worst := a.stalled(now); worst != nil {
				worst.evict()
			}
		}
	}
}

// stalled returns the connection that holds most of those that hold anything and have written nothing for a.stall. It
// is nil if there is none.
func (a *outboxes) stalled(now time.Time) (worst *mailbox) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var most int64
	for m := range a.conns {
		held := m.unary.size() + m.stream.size()
		if wrote := m.wrote.Load(); held == 0 || wrote-m.seen >= stallBytes || m.since.IsZero() {
			m.seen, m.since = wrote, now
		}
		if held > most && now.Sub(m.since) >= a.stall {
			worst, most = m, held
		}
	}
	return worst
}

// mailbox is the two outboxes of a connection.
type mailbox struct {
	unary, stream *outbox
	// wrote are the bytes that were written to the connection.
	wrote atomic.Int64
	// kept is the room of answers that are on the way from their handler to the codec, by the answer.
	kept sync.Map
	// evict closes the connection.
	evict func()

	// Guarded by outboxes.mu: wrote at the time since which stallBytes have not been written.
	seen  int64
	since time.Time
}

// open makes the outboxes of a connection, which may hold so many bytes. evict closes the connection.
func (a *outboxes) open(unary, stream int64, evict func()) *mailbox {
	box := func(limit int64) *outbox {
		return &outbox{limit: limit, own: semaphore.NewWeighted(limit), all: a}
	}
	m := &mailbox{unary: box(unary), stream: box(stream), evict: evict}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conns[m] = struct{}{}
	return m
}

func (a *outboxes) close(m *mailbox) {
	a.mu.Lock()
	delete(a.conns, m)
	a.mu.Unlock()
	m.unary.close()
	m.stream.close()
}
