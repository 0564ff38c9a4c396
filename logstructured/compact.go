package logstructured

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// deleteBatch is the maximum number of rows that are deleted from the database at once.
const deleteBatch = 10_000

// Compact makes revisions below revision unreadable, at once and for every client, and returns the current revision. If
// physical is set, it also waits until the index has dropped the unreachable rows, and until the rows whose retention
// is over have been deleted from the database.
func (s *Store) Compact(ctx context.Context, guard Guard, revision Revision, physical bool) (Revision, error) {
	type compacted struct {
		current  Revision
		position log.Position
	}
	c := call{guard: guard, alarms: alarmsAfterGuard}
	done, err := update(ctx, s, c, func(ev *evaluation) (compacted, error) {
		switch {
		case revision < 0 || revision <= ev.st.compact:
			return compacted{}, ErrCompacted
		case revision > ev.st.revision:
			return compacted{}, ErrFutureRevision
		}
		return compacted{ev.st.revision, ev.compact(revision)}, nil
	})
	if err != nil || !physical {
		return done.current, err
	}
	ctx, cancel := s.timeouts.bound(ctx)
	defer cancel()
	return done.current, s.deleter.wait(ctx, done.position)
}

// Recover raises the revision by bump and marks everything before as compacted. It is for a database that was restored
// to an older state while no replica was running. Revisions that clients may have seen in the lost history are not used
// again, and all clients list again. Recover returns the new revision.
func (s *Store) Recover(ctx context.Context, bump Revision) (Revision, error) {
	return update(ctx, s, call{guard: Unguarded}, func(ev *evaluation) (Revision, error) {
		if bump < 1 || bump > math.MaxInt64-ev.st.revision {
			return 0, fmt.Errorf("cannot raise revision %d by %d", ev.st.revision, bump)
		}
		revision := ev.st.revision + bump
		ev.writeControl(log.Entry{Kind: log.KindRecovery, Revision: revision, Version: int64(ev.st.term) + 1})
		return revision, nil
	})
}

// deleteRows deletes garbage from the database until ctx ends. Batches go in order, and a failed batch is retried
// before the next: a tombstone must never be deleted before the rows that it hides.
func (s *Store) deleteRows(ctx context.Context) error {
	d := s.deleter
	failures := 0
	var warned time.Time
	for ctx.Err() == nil {
		// Load the head before the batch. After the database went back in time, the old deletions are dropped before a
		// head of the new history is published. The new head is therefore never used with an old batch.
		applied := s.snapshot().head
		batch, due, wait := d.next(time.Now())
		if due {
			n := min(len(batch.positions), deleteBatch)
			if err := s.log.Delete(ctx, applied, batch.positions[:n], batch.floor); err != nil {
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
