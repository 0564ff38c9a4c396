package logstructured

import (
	"context"
	"sync/atomic"
	"time"
)

// request is a write on its way through the writer.
type request struct {
	// ctx is the client's. If the client has gone before the evaluation, the request is not evaluated at all.
	ctx context.Context //nolint:containedctx // a queued request carries its client's
	// expired is closed when the request has used up its time; nil means that the time is unlimited.
	expired <-chan struct{}
	// evaluate runs on the writer's goroutine, possibly several times. It leaves its result in variables of its
	// closure.
	evaluate func(*evaluation) error
	// err is the result of the last evaluation. The client gets it only with the outcome of the batch, because it may
	// depend on writes of the batch that are not in the log yet.
	err error
	// done receives the outcome, once.
	done chan error
	// size is the size in bytes, for the bounds on the queue and on one append.
	size int64
	// last is set if the request is evaluated after all other requests of its batch. The order within a batch is free,
	// because none of its requests was answered before another was sent.
	last bool
}

// gone returns why no client waits for the outcome any more, or nil.
func (r *request) gone() error {
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	select {
	case <-r.expired:
		return ErrTimeout
	default:
		return nil
	}
}

const (
	// underWayDecay is the rate at which underWay falls: by 1/underWayDecay with each answered group that shows fewer
	// requests.
	underWayDecay = 16
	// maxGroupWait bounds how long a request waits for more requests to join its append.
	maxGroupWait = 2 * time.Millisecond
	// minDelayedGroup is the value of size below which a group that writes nothing is answered at once.
	minDelayedGroup = 2
)

// groupCommit makes requests wait for more requests to join the same append when many are under way. Half of them are
// then being written to disk while the other half is between the clients and the queue. Without the wait, the first to
// arrive would form a small append, and each of the rest would have to wait for its end. The writer is woken once, by
// the request that completes the group.
type groupCommit struct {
	// target is how many requests the writer waits for in the queue; 0 if it does not.
	target   atomic.Int32
	complete chan struct{}
	// underWay is the number of requests that have lately been under way at once, times underWayDecay. Only the writer
	// uses it and the fields below.
	underWay int
	// wrote reports whether the last group that was answered wrote something and so was appended.
	wrote bool
	// average is the average time of an append.
	average time.Duration
	timer   *time.Timer
}

func newGroupCommit() groupCommit { return groupCommit{complete: make(chan struct{}, 1)} }

// arrived is called for each request that was queued, with the length of the queue.
func (g *groupCommit) arrived(queued int) {
	if target := g.target.Load(); target > 0 && queued >= int(target) {
		select {
		case g.complete <- struct{}{}:
		default:
		}
	}
}

// answered records that a group of so many requests was answered while queued ones waited behind it, and whether the
// group wrote something.
func (g *groupCommit) answered(requests, queued int, wrote bool) {
	g.wrote = wrote
	g.underWay = max((requests+queued)*underWayDecay, g.underWay-g.underWay/underWayDecay)
}

// appended records how long an append took.
func (g *groupCommit) appended(took time.Duration) {
	if g.average == 0 {
		g.average = took
	}
	g.average += (took - g.average) / 8
}

// size returns how many requests an append should have.
func (g *groupCommit) size() int { return g.underWay / underWayDecay / 2 }

// await returns when missing requests are in the queue, or when waiting for more would cost more than it gains.
func (g *groupCommit) await(missing int, queued func() int) {
	select {
	case <-g.complete: // a late signal of an earlier group
	default:
	}
	g.target.Store(int32(missing))
	defer g.target.Store(0)
	if queued() >= missing {
		return
	}
	timer := g.after(min(g.average/2, maxGroupWait))
	select {
	case <-g.complete:
		timer.Stop()
	case <-timer.C:
	}
}

// nextArrival returns the request that arrives next in queue, to join a group that writes nothing. It returns nil if
// none arrives in the time of an append, if the previous group wrote nothing either, or if few requests are under way.
//
// Such a group after an append is mostly transactions that lost a compare to that append. If they were answered at
// once, their clients would start the next race together with the clients of that append, and most of them would lose
// again.
func (g *groupCommit) nextArrival(queue <-chan *request) *request {
	if !g.wrote || g.size() < minDelayedGroup {
		return nil
	}
	timer := g.after(min(g.average, maxGroupWait))
	select {
	case r := <-queue:
		timer.Stop()
		return r
	case <-timer.C:
		return nil
	}
}

// after returns the group's timer, set to fire once wait has passed.
func (g *groupCommit) after(wait time.Duration) *time.Timer {
	if g.timer == nil {
		g.timer = time.NewTimer(wait)
	} else {
		g.timer.Reset(wait)
	}
	return g.timer
}
