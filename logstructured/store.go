package logstructured

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/semaphore"

	"github.com/stele-db/stele/logstructured/log"
)

const (
	// maxQueuedBytes bounds the requests that wait for the writer; further ones wait outside.
	maxQueuedBytes = 64 << 20
	// maxQueuedRequests bounds their number.
	maxQueuedRequests = 4096
)

// Store is etcd's MVCC store over a [log.Log]. All methods may be called concurrently, from Open until Run returns.
type Store struct {
	log     log.Log
	opts    Options
	logger  *logrus.Entry
	metrics *metrics
	cluster uint64

	values values
	hashes hashes
	hub    *hub
	// watch is what the watch streams need.
	watch   watchInputs
	reads   *reads
	applied applied
	deleter *deleter
	health  health
	// refusals are those of the database to take writes.
	refusals refusals
	writer   *writer
	members  members
	quota    quota
	alarms   *Derived[*alarms]
	// size is the last one that the database answered.
	size atomic.Pointer[log.Size]
	// timeouts ends requests, and when the store has stopped all of them.
	timeouts *timeouts
	// notified tells that the database tells of appends.
	notified atomic.Bool

	// queue holds the requests that wait for the writer, queued bounds their bytes.
	queue  chan *request
	queued *semaphore.Weighted
	// group decides how many requests an append should have.
	group groupCommit
	// defragmenting holds the one request that defragments: each takes a connection from other requests, for minutes.
	defragmenting chan struct{}
	// behind tells the writer to look whether the log has moved on.
	behind chan struct{}
	// stopped is closed when Run has ended everything.
	stopped chan struct{}
}

func (s *Store) snapshot() *snapshot { return s.hub.current.Load() }

func (s *Store) newWatchInputs() watchInputs {
	return watchInputs{
		hub: s.hub, reads: s.reads, values: &s.values, logger: s.logger, catchUp: s.catchUp, stopped: s.stopped,
		requestTimeout: s.opts.RequestTimeout, progressInterval: s.opts.ProgressInterval,
	}
}

// NewWatchStream returns a stream without watchers. The caller must Close it.
func (s *Store) NewWatchStream() *WatchStream { return newWatchStream(&s.watch) }

// bound gives a request without a deadline, or with a late one, that of the store. It is for what is rare: what every
// request waits for ends with [timeouts].
func (s *Store) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= s.opts.RequestTimeout {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, s.opts.RequestTimeout, ErrTimeout)
}

// ended is why a channel of timeouts was closed.
func (s *Store) ended() error {
	select {
	case <-s.stopped:
		return ErrStopped
	default:
		return ErrTimeout
	}
}

// write hands evaluate to the writer and waits until what it wrote is committed. evaluate may run several times, and
// its results may be looked at only if write returns nil. size approximates the bytes of the request.
func (s *Store) write(ctx context.Context, size int, evaluate func(*step) error) error {
	r := &request{ctx: ctx, evaluate: evaluate, size: int64(size)}
	if err := s.submit(r); err != nil {
		return err
	}
	return s.await(r)
}

// submit is the first half of write: it puts the request into the writer's queue. The caller must call await if it
// returns nil.
func (s *Store) submit(r *request) error {
	r.expired, r.done = s.timeouts.begin(), make(chan error, 1)
	r.size = min(r.size+1024, maxQueuedBytes)
	if err := s.reserve(r.ctx, r.size); err != nil {
		return err
	}
	select {
	case s.queue <- r:
		s.group.arrived(len(s.queue))
		return nil
	case <-r.ctx.Done():
		s.queued.Release(r.size)
		return context.Cause(r.ctx)
	case <-r.expired:
		s.queued.Release(r.size)
		return s.ended()
	}
}

// await is the second half of write.
func (s *Store) await(r *request) error {
	defer s.queued.Release(r.size)
	select {
	case err := <-r.done:
		return err
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	case <-r.expired:
		select {
		case err := <-r.done: // the last append was answered before the store stopped
			return err
		default:
			return s.ended()
		}
	}
}

// reserve waits for room in the queue.
func (s *Store) reserve(ctx context.Context, weight int64) error {
	if s.queued.TryAcquire(weight) {
		return nil
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	if s.queued.Acquire(ctx, weight) != nil {
		return context.Cause(ctx)
	}
	return nil
}

// linearize returns once everything has been applied that any process had committed when it was called. It takes no
// longer than the store's timeout.
func (s *Store) linearize(ctx context.Context) error {
	expired := s.timeouts.begin()
	for {
		r := s.reads.join(nil)
		select {
		case <-r.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-expired:
			return s.ended()
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
				break // the state was built anew since the database answered: ask again
			}
			s.catchUp()
			select {
			case <-moved:
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-expired:
				return s.ended()
			}
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
