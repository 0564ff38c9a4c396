package logstructured

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"github.com/stele-db/stele/logstructured/log"
)

// reads determines which position a linearizable read must have applied: the log's head, queried after the read
// arrived. All waiting reads share the next query, as in etcd's ReadIndex.
type reads struct {
	log     log.Log
	applied *applied
	health  *health
	wake    chan struct{}

	mu   sync.Mutex
	next *round
}

// round is one query of the head. done is closed once end and err are set.
type round struct {
	done chan struct{}
	end  log.End
	err  error
	// notify holds functions that are called after done was closed.
	notify []func(*round)
}

func newRound() *round { return &round{done: make(chan struct{})} }

func newReads(l log.Log, applied *applied, health *health) *reads {
	return &reads{log: l, applied: applied, health: health, wake: make(chan struct{}, 1), next: newRound()}
}

// run queries the head for the waiting reads until ctx ends.
func (rd *reads) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			rd.query(ctx)
			return nil
		case <-rd.wake:
			runtime.Gosched() // reads that are about to join share the query
			rd.query(ctx)
		}
	}
}

func (rd *reads) query(ctx context.Context) {
	rd.mu.Lock()
	r := rd.next
	rd.next = newRound()
	rd.mu.Unlock()

	before := rd.applied.newest()
	if r.end, r.err = rd.log.End(ctx); r.err != nil {
		rd.health.suspect(r.err)
		r.err = failed(ctx, "read the head of the log", r.err)
	} else if r.end.Position < before.Position || r.end.Position == before.Position && r.end.ID != before.ID {
		r.err = fmt.Errorf("%w: the head of the log is %s, after %s was applied here: the database went back in time",
			ErrUnavailable, r.end.Head, before)
	}
	close(r.done)
	for _, fn := range r.notify {
		fn(r)
	}
}

// join returns the round whose query has not been sent yet. notify, if not nil, is called with its result.
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
