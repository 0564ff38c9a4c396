package logstructured

import (
	"context"
	"runtime"
	"sync"
)

// reads answers which position a linearizable read must have applied: the end of the log, asked for by one query after the
// read arrived. All reads that wait share the next query, as in etcd's ReadIndex.
type reads struct {
	log  Log
	wake chan struct{}

	mu   sync.Mutex
	next *round
}

// round is one question to the database. done is closed when end and err are set.
type round struct {
	done chan struct{}
	end  End
	err  error
	// notify is called after done was closed.
	notify []func(*round)
}

func newReads(log Log) *reads {
	return &reads{log: log, wake: make(chan struct{}, 1), next: &round{done: make(chan struct{})}}
}

// run asks until ctx ends.
func (rd *reads) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			rd.ask(ctx)
			return nil
		case <-rd.wake:
			runtime.Gosched() // reads that are about to join share the question
			rd.ask(ctx)
		}
	}
}

func (rd *reads) ask(ctx context.Context) {
	rd.mu.Lock()
	r := rd.next
	rd.next = &round{done: make(chan struct{})}
	rd.mu.Unlock()

	if r.end, r.err = rd.log.End(ctx); r.err != nil {
		r.err = failed(ctx, "ask for the log's end", r.err)
	}
	close(r.done)
	for _, fn := range r.notify {
		fn(r)
	}
}

// join returns the round whose question has not been asked yet. notify, if not nil, is called with its result.
func (rd *reads) join(notify func(*round)) *round {
	rd.mu.Lock()
	r := rd.next
	if notify != nil {
		r.notify = append(r.notify, notify)
	}
	rd.mu.Unlock()
	select {
	case rd.wake <- struct{}{}:
	default:
	}
	return r
}

// applied lets readers wait until the state has reached a position.
type applied struct {
	mu       sync.Mutex
	position Position
	// moved is closed at the next move; nil while nobody waits.
	moved chan struct{}
}

func (a *applied) set(position Position) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.position = position
	if a.moved != nil {
		close(a.moved)
		a.moved = nil
	}
}

// reached returns nil if position was applied, and otherwise a channel that is closed when to look again.
func (a *applied) reached(position Position) <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.position >= position {
		return nil
	}
	if a.moved == nil {
		a.moved = make(chan struct{})
	}
	return a.moved
}

// linearize returns once everything has been applied that any process had committed when it was called.
func (s *Store) linearize(ctx context.Context) error {
	r := s.reads.join(nil)
	select {
	case <-r.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.stopped:
		return ErrStopped
	}
	if r.err != nil {
		return r.err
	}
	for {
		moved := s.applied.reached(r.end.Position)
		if moved == nil {
			return nil
		}
		s.catchUp()
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.stopped:
			return ErrStopped
		}
	}
}

// catchUp tells the writer that the log has moved on.
func (s *Store) catchUp() {
	select {
	case s.behind <- struct{}{}:
	default:
	}
}
