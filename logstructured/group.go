package logstructured

import (
	"sync/atomic"
	"time"
)

const (
	// usualDecay is by what part the number of requests that are usually under way falls with each append that shows fewer.
	usualDecay = 16
	// maxGroupWait bounds how long a request waits for others that go with it.
	maxGroupWait = 2 * time.Millisecond
)

// groupCommit lets requests wait for others to go with them into the same append, when many are under way: half of them are on their way to
// the disk while the other half is between the clients and the queue, and those that arrive first would otherwise make a small append whose
// end each of the others would have to wait for. The writer is woken once, by the request that completes the group.
type groupCommit struct {
	// wanted is how many requests the writer waits for in the queue; 0 if it does not.
	wanted   atomic.Int32
	complete chan struct{}
	// usual is how many requests have lately been under way at once, times usualDecay. Only the writer uses what follows.
	usual int
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

// appended notes an append of so many requests, behind which others were queued when it came in.
func (g *groupCommit) appended(requests, queued int, took time.Duration) {
	g.usual = max((requests+queued)*usualDecay, g.usual-g.usual/usualDecay)
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
	wait := min(g.took/2, maxGroupWait)
	if g.timer == nil {
		g.timer = time.NewTimer(wait)
	} else {
		g.timer.Reset(wait)
	}
	select {
	case <-g.complete:
		g.timer.Stop()
	case <-g.timer.C:
	}
}
