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
	// maxQueuedBytes bounds the bytes of the requests in the writer's queue. Further requests wait in front of it.
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
	// watch holds the dependencies of watch streams.
	watch   watchInputs
	reads   *reads
	applied applied
	deleter *deleter
	health  health
	// refusals tracks whether the database refuses writes.
	refusals refusals
	writer   *writer
	members  members
	quota    quota
	alarms   *Derived[*alarms]
	// size is the last size that the database reported.
	size atomic.Pointer[log.Size]
	// timeouts ends requests that take too long, and all requests once the store has stopped.
	timeouts *timeouts
	// notified is set while the database sends notifications of appends.
	notified atomic.Bool

	// queue holds the requests that wait for the writer, queued bounds their bytes.
	queue  chan *request
	queued *semaphore.Weighted
	// group decides how many requests an append should have.
	group groupCommit
	// defragmenting holds the one request that defragments. Each such request keeps a connection from other requests
	// for minutes.
	defragmenting chan struct{}
	// behind wakes the writer to apply appends of other replicas.
	behind chan struct{}
	// stopped is closed once all goroutines of Run have ended.
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

// bound limits ctx to the store's request timeout. It creates a timer, so it is for rare waits; those of every request
// end with [timeouts].
func (s *Store) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= s.opts.RequestTimeout {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, s.opts.RequestTimeout, ErrTimeout)
}

// ended returns why a channel of timeouts was closed.
func (s *Store) ended() error {
	select {
	case <-s.stopped:
		return ErrStopped
	default:
		return ErrTimeout
	}
}

// write hands evaluate to the writer and waits until its writes are committed. evaluate may run several times. The
// caller may use its results only if write returns nil. size approximates the bytes of the request.
func (s *Store) write(ctx context.Context, size int, evaluate func(*step) error) error {
	r := &request{ctx: ctx, evaluate: evaluate, size: int64(size)}
	if err := s.submit(r); err != nil {
		return err
	}
	return s.await(r)
}

// submit is the first half of write: it puts the request into the writer's queue. If it returns nil, the caller must
// call await.
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

// await is the second half of write: it waits for the outcome.
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

// linearize returns once this replica has applied everything that any process had committed before the call. It fails
// after the store's request timeout.
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
				break // the state was rebuilt after the database answered: query again
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

// catchUp wakes the writer to apply appends of other replicas.
func (s *Store) catchUp() {
	select {
	case s.behind <- struct{}{}:
	default:
	}
}
