package logstructured

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/stele-db/stele/logstructured/log"
)

const (
	// maxQueuedBytes bounds the requests that wait for the writer; further ones wait outside.
	maxQueuedBytes = 64 << 20
	// maxQueuedRequests bounds their number.
	maxQueuedRequests       = 4096
	defaultCompactRetention = 5 * time.Minute
	// maxRereads is how often a read starts over because a compaction went over what it was reading.
	maxRereads = 5
)

// DefaultValueCacheBytes is 256 MiB.
const DefaultValueCacheBytes = 256 << 20

// Options configure a [Store].
type Options struct {
	// Logger is required.
	Logger *logrus.Entry
	// Registerer receives the store's metrics; nil registers none.
	Registerer prometheus.Registerer
	// ValueCacheBytes bounds the values kept in memory; 0 is [DefaultValueCacheBytes], negative none.
	ValueCacheBytes int64
	// RequestTimeout ends requests whose context has no earlier deadline; 0 is 7 s, as etcd's default.
	RequestTimeout time.Duration
	// PollInterval is how often the end of the log is looked at for entries of other processes while those write; 0 is 10 ms. While they do
	// not, two fifths of that are enough, and a tenth where there are no watchers or the database tells of appends.
	PollInterval time.Duration
	// CompactRetention is how long the rows of superseded revisions stay in the database after the compaction that
	// made them unreachable, for replicas that lag; 0 is 5 minutes.
	CompactRetention time.Duration
	// LeaseMode tells what a lease is; empty is [LeaseModeTTL]. It must be that of the log, unless that is empty.
	LeaseMode LeaseMode
	// QuotaBytes is how much the database may take up before writes are refused; 0 or less is no limit.
	QuotaBytes int64
	// MaxIndexBytes is how much memory the index may take up, by estimate, before writes are refused; 0 or less is no limit. It bounds neither
	// cached values nor what requests need.
	MaxIndexBytes int64
	// Loading, if not nil, is called while the index is built, with the position that was read and about the last one.
	Loading func(read, end log.Position)
	// ProgressInterval is the period of watch progress notifications; 0 is 5 s, which is how an etcd is set up for Kubernetes.
	ProgressInterval time.Duration
}

func (o Options) withDefaults() Options {
	setDefault := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	setDefault(&o.RequestTimeout, 7*time.Second)
	setDefault(&o.PollInterval, 10*time.Millisecond)
	setDefault(&o.CompactRetention, defaultCompactRetention)
	setDefault(&o.ProgressInterval, 5*time.Second)
	if o.LeaseMode == "" {
		o.LeaseMode = LeaseModeTTL
	}
	if o.ValueCacheBytes == 0 {
		o.ValueCacheBytes = DefaultValueCacheBytes
	}
	return o
}

// Store is etcd's MVCC store over a [log.Log]. All methods may be called concurrently, from Open until Run returns.
type Store struct {
	log     log.Log
	opts    Options
	logger  *logrus.Entry
	metrics *metrics
	cluster uint64

	values  values
	hashes  hashes
	hub     *hub
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

// Open reads the log's metadata and builds the index. The store takes over log: Close of the
// log is called when Run returns, or by Open itself if it fails.
func Open(ctx context.Context, l log.Log, opts Options) (s *Store, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	if opts.Logger == nil {
		return nil, errors.New("logstructured: Options.Logger is required")
	}
	opts = opts.withDefaults()
	if err := opts.LeaseMode.Valid(); err != nil {
		return nil, err
	}
	m, err := newMetrics(opts.Registerer)
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	start := time.Now()
	st, leases, end, err := loadServed(ctx, reporting(l, opts.Loading))
	if err != nil {
		return nil, err
	}
	if st.mode != opts.LeaseMode {
		if st, leases, err = claimLeaseMode(ctx, l, st, opts.LeaseMode); err != nil {
			return nil, err
		}
	}
	l = boundedLog{l, opts.RequestTimeout}
	s = &Store{
		log: l, opts: opts, logger: opts.Logger, metrics: m, cluster: end.ClusterID,
		values: values{log: l, budget: opts.ValueCacheBytes, lanes: newLanes()},
		hub:    newHub(m), deleter: newDeleter(),
		quota: quota{log: l, bytes: opts.QuotaBytes}, alarms: Derive(readAlarms),
		queue:  make(chan *request, maxQueuedRequests),
		queued: semaphore.NewWeighted(maxQueuedBytes),
		group:  newGroupCommit(),
		behind: make(chan struct{}, 1),

		defragmenting: make(chan struct{}, 1),
		stopped:       make(chan struct{}), timeouts: newTimeouts(opts.RequestTimeout),
	}
	s.reads = newReads(l, &s.applied, &s.health)
	s.health.logger, s.health.damages = opts.Logger, m.damaged
	s.refusals.logger = opts.Logger
	if size, err := l.Size(ctx); err == nil { // otherwise the first Status asks
		s.size.Store(&size)
	}
	s.values.alert = s.health.damaged
	s.members.logger = opts.Logger
	s.writer = &writer{store: s, st: st, published: st.publish(), leases: leases, turns: turns{tag: newReplicaTag()}}
	s.hub.publish(s.writer.published)
	s.applied.restart(s.writer.published.head)
	m.published(s.writer.published)
	s.logger.WithFields(logrus.Fields{
		"revision": st.revision, "compact-revision": st.compact, "keys": st.keys.Len(), "index-bytes": st.indexBytes(), "max-index-bytes": max(opts.MaxIndexBytes, 0),
		"took": time.Since(start).Round(time.Millisecond),
	}).Info("index built")
	return s, nil
}

// Run appends, follows, expires and compacts until ctx ends; then it lets the append that is under way finish,
// ends all requests and watch streams with [ErrStopped], closes the log and returns. A failing database is
// no reason to return, unless it reports [log.ErrSyncFailed].
func (s *Store) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.writer.run(ctx) })
	g.Go(func() error { return s.hub.run(ctx) })
	g.Go(func() error { return s.reads.run(ctx) })
	g.Go(func() error { return s.timeouts.run(ctx) })
	g.Go(func() error { return s.deleteRows(ctx) })
	if s.quota.bytes > 0 {
		g.Go(func() error { return s.quota.run(ctx) })
	}
	if s.opts.MaxIndexBytes > 0 {
		g.Go(func() error { return s.watchIndex(ctx) })
	}
	if n, ok := s.log.(boundedLog).Log.(log.Notifier); ok {
		g.Go(func() error { return s.listen(ctx, n) })
	}
	if r, ok := s.log.(boundedLog).Log.(log.Registry); ok && s.members.self.ID != 0 {
		g.Go(func() error { return s.members.run(ctx, r) })
	}
	err := g.Wait()
	close(s.stopped)
	s.timeouts.stop()
	s.hub.stop()
	if closeErr := s.log.Close(); err == nil || !errors.Is(closeErr, log.ErrSyncFailed) { // which err then is, too
		err = errors.Join(err, closeErr)
	}
	return err
}

// listen lets the database wake the writer.
func (s *Store) listen(ctx context.Context, n log.Notifier) error {
	for failures := 0; ctx.Err() == nil; failures++ {
		err := n.Listen(ctx, func() {
			failures = 0
			s.notified.Store(true)
			s.catchUp()
		})
		s.notified.Store(false)
		if err != nil && ctx.Err() == nil {
			s.logger.WithError(err).Debug("no notifications from the database; polling until there are")
		}
		pause(ctx, backoff(failures))
	}
	return nil
}

func (s *Store) snapshot() *snapshot { return s.hub.current.Load() }

// bound gives a request without a deadline, or with a late one, that of the store. It is for what is rare: what every request
// waits for ends with [timeouts].
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

// write hands evaluate to the writer and waits until what it wrote is committed. evaluate may run several times, and its
// results may be looked at only if write returns nil. size approximates the bytes of the request.
func (s *Store) write(ctx context.Context, size int, evaluate func(*step) error) error {
	r := &request{ctx: ctx, evaluate: evaluate, size: int64(size)}
	if err := s.submit(r); err != nil {
		return err
	}
	return s.await(r)
}

// submit is the first half of write: it puts the request into the writer's queue. The caller must call await if it returns nil.
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

// compactedIfGone answers a read of what was deleted.
func (s *Store) compactedIfGone(err error) error {
	if errors.Is(err, errValueGone) {
		return fmt.Errorf("%w: %w", ErrCompacted, err)
	}
	return err
}

// Defragment gives free space back to the file system. Requests for it run one after the other.
func (s *Store) Defragment(ctx context.Context) error {
	select {
	case s.defragmenting <- struct{}{}:
		defer func() { <-s.defragmenting }()
	case <-s.stopped:
		return ErrStopped
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := s.log.Defragment(ctx); err != nil {
		return unavailable(ctx, "defragment", err)
	}
	return nil
}

// Status describes the store. It asks the database for its size, and shows the last one known if the database does not answer.
func (s *Store) Status(ctx context.Context) (*Status, error) {
	lost := s.Lost()
	if !lost {
		size, err := s.log.Size(ctx)
		if err == nil {
			s.size.Store(&size)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		lost = err != nil
	}
	snap := s.snapshot()
	st := &Status{
		Size:      log.Size{Total: 1}, // until it is known: etcdctl divides by it
		ClusterID: s.cluster, Revision: snap.revision, CompactRevision: snap.compact,
		Applied: snap.head.Position, Term: s.Term(), Lost: lost,
	}
	if size := s.size.Load(); size != nil {
		st.Size = *size
	}
	return st, nil
}

// lostAfter is how long the database must not have answered before requests about the state of this replica stop asking it.
const lostAfter = time.Second

// Lost reports whether the database has not answered for a second.
func (s *Store) Lost() bool { return s.health.lostFor(lostAfter) }

// Revision returns the current revision as applied here.
func (s *Store) Revision() Revision { return s.snapshot().revision }

// ClusterID is the identity of the store in the database, non-zero.
func (s *Store) ClusterID() uint64 { return s.cluster }

// Term is the raft term of response headers.
func (s *Store) Term() uint64 { return s.snapshot().term }

// Ready returns nil when a linearizable read succeeds.
func (s *Store) Ready(ctx context.Context) error {
	return s.linearize(ctx)
}
