package server

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// unaryBytes and streamBytes bound the responses of one connection that are being made or wait to be sent.
	// unaryBytes is for single requests, whose responses clients read as they come. streamBytes is for streams, which a
	// client may leave unread while it sends other requests. processBytes bounds the responses of all connections
	// together.
	unaryBytes   = 64 << 20
	streamBytes  = 32 << 20
	processBytes = 512 << 20
	// freeBytes is the size up to which a response needs no room. A stream without room continues with pieces of this
	// size.
	freeBytes = 32 << 10
	// stallTime is how long a client may read nothing while other clients wait for the room that its connection holds.
	// After that the connection is closed.
	stallTime = 10 * time.Second
	// stallBytes is the number of bytes below which a connection counts as stalled in that time: pings and their
	// responses are less.
	stallBytes = 64 << 10
)

// outbox bounds the bytes of responses that a connection holds. A single response may exceed the bound if it is the
// only one.
type outbox struct {
	limit int64
	own   *semaphore.Weighted
	all   *outboxes

	mu     sync.Mutex
	held   int64
	closed bool
}

// take waits for room for n bytes. It returns how many bytes the caller must give back.
func (o *outbox) take(ctx context.Context, n int64) (int64, error) {
	n = min(n, o.limit)
	if !o.own.TryAcquire(n) {
		collect := time.AfterFunc(o.all.stall, o.all.collect)
		err := o.own.Acquire(ctx, n)
		collect.Stop()
		if err != nil {
			return 0, context.Cause(ctx)
		}
	}
	if err := o.all.take(ctx, n); err != nil {
		o.own.Release(n)
		return 0, err
	}
	return o.hold(n), nil
}

// try is take without waiting. It returns 0 if there is not enough room.
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

// hold records that n bytes were taken. For a closed connection it returns them to the common limit at once.
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

// give releases n bytes that were taken.
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

// close releases everything: gRPC does not free the messages that wait on a closed connection.
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

// outboxes are the outboxes of all connections, and bound their total.
type outboxes struct {
	limit int64
	bytes *semaphore.Weighted
	stall time.Duration

	mu    sync.Mutex
	conns map[*mailbox]struct{}

	collecting sync.Mutex
	collected  time.Time
}

func newOutboxes(limit int64) *outboxes {
	return &outboxes{
		limit: limit, bytes: semaphore.NewWeighted(limit), stall: stallTime, conns: map[*mailbox]struct{}{},
	}
}

// take waits until all connections together have room for n bytes. While it waits, evict closes connections that hold
// room and whose clients read nothing.
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

// evict closes a stalled connection every a.stall until done is closed: each time the one that holds most.
func (a *outboxes) evict(done <-chan struct{}) {
	tick := time.NewTicker(a.stall)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case now := <-tick.C:
			a.collect()
			if worst := a.stalled(now); worst != nil {
				worst.evict()
			}
		}
	}
}

// collect releases the room of messages that gRPC discarded, see [newHeldAnswer], if a request has waited for room for
// a.stall. An idle process collects garbage only every two minutes.
func (a *outboxes) collect() {
	a.collecting.Lock()
	defer a.collecting.Unlock()
	if time.Since(a.collected) >= a.stall {
		runtime.GC()
		a.collected = time.Now()
	}
}

// stalled returns the connection that holds most, of all connections that have written almost nothing for a.stall. It
// returns nil if there is none.
func (a *outboxes) stalled(now time.Time) (worst *mailbox) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var most int64
	for m := range a.conns {
		held := m.unary.size() + m.stream.size()
		if n := m.written.Load(); held == 0 || n-m.writtenThen >= stallBytes || m.since.IsZero() {
			m.writtenThen, m.since = n, now
		}
		if held > most && now.Sub(m.since) >= a.stall {
			worst, most = m, held
		}
	}
	return worst
}

// mailbox holds the two outboxes of a connection, which it observes.
type mailbox struct {
	unary, stream *outbox
	all           *outboxes
	// written is the number of bytes written to the connection.
	written atomic.Int64
	// kept holds the room of responses between their handler and the codec, by response.
	kept sync.Map
	// evict closes the connection.
	evict func()

	// since is when the connection had last written stallBytes, and writtenThen the value of written then. Both are
	// guarded by outboxes.mu.
	writtenThen int64
	since       time.Time
}

// open creates the outboxes of a connection with the given limits. evict closes the connection.
func (a *outboxes) open(unary, stream int64, evict func()) *mailbox {
	box := func(limit int64) *outbox {
		return &outbox{limit: limit, own: semaphore.NewWeighted(limit), all: a}
	}
	m := &mailbox{unary: box(unary), stream: box(stream), all: a, evict: evict}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conns[m] = struct{}{}
	return m
}

// Wrote implements [transport.Observer].
func (m *mailbox) Wrote(n int) { m.written.Add(int64(n)) }

// Closed implements [transport.Observer].
func (m *mailbox) Closed() {
	m.all.mu.Lock()
	delete(m.all.conns, m)
	m.all.mu.Unlock()
	m.unary.close()
	m.stream.close()
}
