package logstructured

import (
	"context"
	"sync/atomic"

	"github.com/stele-db/stele/logstructured/log"
)

// Store is etcd's MVCC store over a [log.Log]. All methods may be called concurrently, from Open until Run returns.
type Store struct {
	*shared
	writer *writer
	// timeouts ends requests that take too long, and all requests once the store has stopped.
	timeouts *timeouts
	reads    *reads
	hashes   hashes
	// watch holds the dependencies of watch streams.
	watch   watchInputs
	members members
	quota   quota
	// size is the last size that the database reported.
	size atomic.Pointer[log.Size]
	// notifier is nil if the database does not send notifications.
	notifier log.Notifier
	// defragmenting holds the one request that defragments. Each such request keeps a connection from other requests
	// for minutes.
	defragmenting chan struct{}
}

// NewWatchStream returns a stream without watchers. The caller must Close it.
func (s *Store) NewWatchStream() *WatchStream { return newWatchStream(&s.watch) }

// linearize returns once this replica has applied everything that any process had committed before the call. It fails
// after the store's request timeout.
func (s *Store) linearize(ctx context.Context) error {
	expired := s.timeouts.start()
	for {
		r := s.reads.join(nil)
		select {
		case <-r.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-expired:
			return s.timeouts.cause()
		}
		if r.err != nil {
			return r.err
		}
		for {
			where, moved := s.applied.standing(r.end.Head)
			if where == reached {
				return nil
			}
			if where == foreign {
				break // the state was rebuilt after the database answered: query again
			}
			s.wakeFollower()
			select {
			case <-moved:
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-expired:
				return s.timeouts.cause()
			}
		}
	}
}

// passHere returns the error of a guard on the state that this replica has applied. Because this replica may lag, a
// refusal is checked again on the latest state, unless the database is unreachable.
func (s *Store) passHere(ctx context.Context, guard Guard) error {
	err := s.snapshot().pass(guard)
	if err == nil {
		return nil
	}
	ctx, cancel := s.timeouts.bound(ctx)
	defer cancel()
	if s.linearize(ctx) != nil {
		return err
	}
	return s.snapshot().pass(guard)
}

// Check returns the error of a guard on a state that is not older than the call. It is for handlers that act before the
// store evaluates their request.
func (s *Store) Check(ctx context.Context, guard Guard) error {
	_, err := s.current(ctx, guard)
	return err
}

// current returns a state that is not older than the call, if guard permits the request on it.
func (s *Store) current(ctx context.Context, guard Guard) (*snapshot, error) {
	if err := s.linearize(ctx); err != nil {
		return nil, err
	}
	snap := s.snapshot()
	return snap, snap.pass(guard)
}
