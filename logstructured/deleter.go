package logstructured

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// deletion is a set of rows that no replica needs once due has passed, in the order in which to delete them.
type deletion struct {
	positions []log.Position
	// floor is the position of the compaction that made the rows unreachable.
	floor log.Position
	due   time.Time
}

// deleter deletes rows of superseded revisions once their retention is over. A replica that lags by less than the
// retention finds every row that it has not applied.
type deleter struct {
	wake chan struct{}

	mu      sync.Mutex
	pending []deletion
	// trimmed is the position of the newest compaction whose rows have all been passed to drop.
	trimmed log.Position
	waiters []waiter
}

type waiter struct {
	compaction log.Position
	done       chan struct{}
}

func newDeleter() *deleter { return &deleter{wake: make(chan struct{}, 1)} }

func (d *deleter) drop(batch deletion) {
	d.mu.Lock()
	d.pending = append(d.pending, batch)
	d.mu.Unlock()
	d.signal()
}

// trimmedUpTo records that all rows of the compactions up to this one have been passed to drop.
func (d *deleter) trimmedUpTo(compaction log.Position) {
	d.mu.Lock()
	changed := d.trimmed != compaction
	d.trimmed = compaction
	d.mu.Unlock()
	if changed {
		d.signal()
	}
}

// reset forgets the pending deletions, because their positions belong to a history that the database may have lost.
func (d *deleter) reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pending = nil
}

func (d *deleter) signal() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// wait returns once all rows of the compaction have been passed to drop and all rows that are due were deleted.
func (d *deleter) wait(ctx context.Context, compaction log.Position) error {
	done := make(chan struct{})
	d.mu.Lock()
	d.waiters = append(d.waiters, waiter{compaction, done})
	d.mu.Unlock()
	d.signal()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		d.mu.Lock()
		defer d.mu.Unlock()
		d.waiters = slices.DeleteFunc(d.waiters, func(w waiter) bool { return w.done == done })
		return context.Cause(ctx)
	}
}

// next returns the oldest batch if it is due. Otherwise it returns how long to wait for it (0: until woken).
func (d *deleter) next(now time.Time) (batch deletion, due bool, wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.pending) > 0 {
		if wait = d.pending[0].due.Sub(now); wait <= 0 {
			return d.pending[0], true, 0
		}
	}
	kept := d.waiters[:0]
	for _, w := range d.waiters {
		if w.compaction <= d.trimmed {
			close(w.done)
		} else {
			kept = append(kept, w)
		}
	}
	d.waiters = kept
	return deletion{}, false, wait
}

// deleted removes the first n positions of batch, the oldest one, after they were deleted from the database.
func (d *deleter) deleted(batch deletion, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.pending) == 0 || d.pending[0].floor != batch.floor {
		return // reset was called meanwhile
	}
	if d.pending[0].positions = d.pending[0].positions[n:]; len(d.pending[0].positions) == 0 {
		d.pending[0] = deletion{}
		d.pending = d.pending[1:]
	}
}
