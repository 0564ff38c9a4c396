package logstructured

import (
	"context"
	"sync/atomic"
	"time"
)

// request is a write on its way through the writer.
type request struct {
	// ctx is the client's: when nobody waits any more before the request was evaluated, it is not evaluated at all.
	ctx context.Context //nolint:containedctx // a queued request carries its client's
	// expired is closed when the request has had its time; nil is never.
	expired <-chan struct{}
	// evaluate runs on the writer's goroutine, possibly several times, and leaves its result where the closure says.
	evaluate func(*step) error
	// err is what the last evaluation returned. It becomes known only with the outcome of the batch, because it may
	// follow from what the batch has not written yet.
	err error
	// done receives the outcome, once.
	done chan error
	// size in bytes, for the bound on what waits.
	size int64
	// last is set if the request is evaluated after the others of its group. Any order is right for those: none was
	// answered before another was sent.
	last bool
}

// gone returns why nobody waits for the outcome any more, or nil.
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
	// usualDecay is by what part the number of requests that are usually under way falls with each append that shows
	// fewer.
	usualDecay = 16
	// maxGroupWait bounds how long a request waits for others that go with it.
	maxGroupWait = 2 * time.Millisecond
	// leastCompany is the size of an append below which a group that writes nothing is answered at once.
	leastCompany = 2
)

// groupCommit lets requests wait for others to go with them into the same append, when many are under way: half of them
// are on their way to the disk while the other half is between the clients and the queue, and those that arrive first
// would otherwise make a small append whose end each of the others would have to wait for. The writer is woken once, by
// the request that completes the group.
type groupCommit struct {
	// wanted is how many requests the writer waits for in the queue; 0 if it does not.
	wanted   atomic.Int32
	complete chan struct{}
	// usual is how many requests have lately been under way at once, times usualDecay. Only the writer uses what
	// follows.
	usual int
	// wrote is whether the last group that was answered was appended; one that writes nothing is not.
	wrote bool
	// took is the average time of an append.
	took  time.Duration
	timer *time.Timer
}

func newGroupCommit() groupCommit { return groupCommit{complete: make(chan struct{}, 1)} }

// arrived is called for each request that was queued, with the length of the queue.
func (g *groupCommit) arrived(queued int) {
	if wanted := g.wanted.Load(); wanted > 0 && queued >= int(wanted) {
		select {
		case g.complete <- struct{}{}:
		default:
		}
	}
}

// answered notes a group of so many requests, behind which others were queued when it was answered, and whether it
// wrote something.
func (g *groupCommit) answered(requests, queued int, wrote bool) {
	g.wrote = wrote
	g.usual = max((requests+queued)*usualDecay, g.usual-g.usual/usualDecay)
}

// appended notes how long an append took.
func (g *groupCommit) appended(took time.Duration) {
	if g.took == 0 {
		g.took = took
	}
	g.took += (took - g.took) / 8
}

// size is how many requests an append should have.
func (g *groupCommit) size() int { return g.usual / usualDecay / 2 }

// await returns when missing requests are in the queue, or when waiting for more would cost more than it brings.
func (g *groupCommit) await(missing int, queued func() int) {
	select {
	case <-g.complete: // a late one
	default:
	}
	g.wanted.Store(int32(missing))
	defer g.wanted.Store(0)
	if queued() >= missing {
		return
	}
	timer := g.after(min(g.took/2, maxGroupWait))
	select {
	case <-g.complete:
		timer.Stop()
	case <-timer.C:
	}
}

// company returns the request that arrives next in queue, for a group that writes nothing to go with. It returns nil if
// none arrives in the time of an append, if the group before wrote nothing either, or if few requests are under way.
//
// Such a group behind an append is mostly transactions that lost a compare to it. An answer at once would send their
// clients into the next race together with the clients of that append, and most of them would lose again.
func (g *groupCommit) company(queue <-chan *request) *request {
	if !g.wrote || g.size() < leastCompany {
		return nil
	}
	timer := g.after(min(g.took, maxGroupWait))
	select {
	case r := <-queue:
		timer.Stop()
		return r
	case <-timer.C:
		return nil
	}
}

// after returns the group's timer, which fires once wait has passed.
func (g *groupCommit) after(wait time.Duration) *time.Timer {
	if g.timer == nil {
		g.timer = time.NewTimer(wait)
	} else {
		g.timer.Reset(wait)
	}
	return g.timer
}
