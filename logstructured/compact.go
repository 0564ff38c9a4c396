package logstructured

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// deleteBatch is how many rows are deleted from the database at once.
const deleteBatch = 10_000

// Compact makes revisions below revision unreadable, at once and for every client, and returns the current revision.
// With physical it also waits until the index has dropped what is unreachable and the rows whose retention is over
// were deleted from the database.
func (s *Store) Compact(ctx context.Context, revision Revision, physical bool) (Revision, error) {
	var current Revision
	var position log.Position
	err := s.write(ctx, 0, func(st *step) error {
		if err := st.admit(cost{}); err != nil {
			return err
		}
		current = st.st.revision
		if revision < 0 || revision <= st.st.compact {
			return ErrCompacted
		}
		if revision > st.st.revision {
			return ErrFutureRevision
		}
		position = st.compact(revision)
		return nil
	})
	if err != nil || !physical {
		return current, err
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	return current, s.deleter.wait(ctx, position)
}

// compact appends the entry of a compaction and returns the position that it will have.
func (s *step) compact(revision Revision) log.Position {
	position := s.nextPosition()
	s.writeControl(log.Entry{Kind: log.KindCompaction, Revision: revision})
	return position
}

// deletion is a set of rows that nobody will need once due has passed, in the order in which they must go.
type deletion struct {
	positions []log.Position
	// floor is the position of the compaction that made the rows unreachable.
	floor log.Position
	due   time.Time
}

// deleter deletes rows of superseded revisions once their retention is over: replicas that lag by less than that find every row
// that they have not applied.
type deleter struct {
	wake chan struct{}

	mu      sync.Mutex
	pending []deletion
	// trimmed is the position of the newest compaction whose rows have all been handed over.
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

// trimmedUpTo says that all rows of the compactions up to position have been handed over.
func (d *deleter) trimmedUpTo(compaction log.Position) {
	d.mu.Lock()
	changed := d.trimmed != compaction
	d.trimmed = compaction
	d.mu.Unlock()
	if changed {
		d.signal()
	}
}

// reset forgets what was to be deleted: the positions are those of a history that the database may have lost.
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

// wait returns when the rows of the compaction were handed over and all rows that are due are gone.
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

// next returns the oldest batch if it is due, or how long to wait for it (0: until woken).
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

// deleted takes batch, the oldest, n of whose positions are gone, forward.
func (d *deleter) deleted(batch deletion, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.pending) == 0 || d.pending[0].floor != batch.floor {
		return // forgotten meanwhile
	}
	if d.pending[0].positions = d.pending[0].positions[n:]; len(d.pending[0].positions) == 0 {
		d.pending[0] = deletion{}
		d.pending = d.pending[1:]
	}
}

// deleteRows carries out the deletions until ctx ends. Batches go in order, and one that failed is tried again before
// the next: a tombstone must never go before the rows that it hides.
func (s *Store) deleteRows(ctx context.Context) error {
	d := s.deleter
	failures := 0
	var warned time.Time
	for ctx.Err() == nil {
		// Before the batch: a head of a new history is shown only after what was to be deleted from the old one was forgotten.
		guard := s.snapshot().head
		batch, due, wait := d.next(time.Now())
		if due {
			n := min(len(batch.positions), deleteBatch)
			if err := s.log.Delete(ctx, guard, batch.positions[:n], batch.floor); err != nil {
				if now := time.Now(); now.Sub(warned) >= remindEvery && ctx.Err() == nil {
					warned = now
					s.logger.WithError(err).Warn("cannot delete compacted rows; trying again")
				}
				pause(ctx, backoff(failures))
				failures++
				continue
			}
			failures = 0
			s.metrics.deleted.Add(float64(n))
			d.deleted(batch, n)
			continue
		}
		var timer <-chan time.Time
		if wait > 0 {
			timer = time.After(wait)
		}
		select {
		case <-ctx.Done():
		case <-d.wake:
		case <-timer:
		}
	}
	return nil
}
