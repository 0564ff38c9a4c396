package connect

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// refusalTime is how long a class does without a connection that the server has refused.
const refusalTime = 10 * time.Second

// Class bounds the connections for calls of one kind, so that calls of another kind do not wait for them. If the server
// refuses connections because the user or the server has too many, the class continues with those that it has.
type Class[C any] struct {
	source Source[C]
	// lender, if not nil, is the class whose connections are used if the server refuses even the first one of this
	// class.
	lender *Class[C]
	// places holds one element for each additional call that may have a connection.
	places chan struct{}

	mu sync.Mutex
	// parked is the number of places that are temporarily removed.
	parked int
	// denied is the time at which the class may request connections of its own again.
	denied time.Time
}

// Source provides the connections of a class.
type Source[C any] struct {
	// Open takes an idle connection or makes a new one.
	Open func(context.Context) (C, error)
	// Refused reports whether an error of Open means that the server takes no further connection.
	Refused func(error) bool
	// MakeRoom closes connections that are less important than those of this class. It is called if the class has no
	// connection at all. It may be nil.
	MakeRoom func(refusal error)
}

// NewClass returns a class of at most n connections. lender may be nil.
func NewClass[C any](n int, source Source[C], lender *Class[C]) *Class[C] {
	c := &Class[C]{source: source, lender: lender, places: make(chan struct{}, n)}
	for range n {
		c.places <- struct{}{}
	}
	return c
}

// Acquire returns a connection. It waits for a place. The caller returns the connection to the pool and then calls
// release.
func (c *Class[C]) Acquire(ctx context.Context) (conn C, release func(), err error) {
	if c.lender != nil && c.Denied() {
		return c.lender.Acquire(ctx)
	}
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		select {
		case <-c.places:
		case <-ctx.Done():
			return conn, nil, ctx.Err()
		}
		conn, err = c.source.Open(ctx)
		if err == nil {
			return conn, c.leave, nil
		}
		if c.source.Refused(err) && c.park() {
			continue
		}
		c.leave()
		switch {
		case !c.source.Refused(err):
			return conn, nil, err
		case c.lender != nil:
			c.Deny()
			return c.lender.Acquire(ctx)
		case c.source.MakeRoom != nil:
			c.source.MakeRoom(err)
		}
		if ended := Pause(ctx, wait); ended != nil {
			return conn, nil, fmt.Errorf("%w: %w", ended, err)
		}
	}
}

func (c *Class[C]) leave() { c.places <- struct{}{} }

// park removes the caller's place for a while, unless it is the last one of the class.
func (c *Class[C]) park() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.parked == cap(c.places)-1 {
		return false
	}
	c.parked++
	time.AfterFunc(refusalTime, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.parked--
		c.leave()
	})
	return true
}

// Deny makes a class that has a lender use the lender's connections for a while.
func (c *Class[C]) Deny() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.denied = time.Now().Add(refusalTime)
}

// Denied reports whether the class uses its lender's connections.
func (c *Class[C]) Denied() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.denied.IsZero() && time.Now().Before(c.denied)
}

// Divide splits n connections, at least one, between following the log (including reads of its end) and other calls. A
// single connection goes to following.
func Divide(n int) (follow, others int) {
	const wanted = 2
	follow = min(wanted, max(1, n/2))
	return follow, n - follow
}

// Pause waits for d. It returns ctx's error if ctx ends first.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
