package logstructured

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/semaphore"

	"github.com/stele-db/stele/logstructured/log"
)

// Open reads the log's metadata and builds the index. The store takes ownership of the log: Run closes it when it
// returns, and Open closes it if it fails.
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
	s.watch = s.newWatchInputs()
	s.health.logger, s.health.damages = opts.Logger, m.damaged
	s.refusals.logger = opts.Logger
	if size, err := l.Size(ctx); err == nil { // otherwise the first Status queries it
		s.size.Store(&size)
	}
	s.values.alert = s.health.damaged
	s.members.logger = opts.Logger
	s.writer = &writer{store: s, st: st, published: st.publish(), leases: leases, turns: turns{tag: newReplicaTag()}}
	s.writer.current = start // the entries that are applied next were appended later
	s.hub.publish(s.writer.published)
	s.applied.restart(s.writer.published.head)
	m.published(s.writer.published)
	s.logger.WithFields(logrus.Fields{
		"revision": st.revision, "compact-revision": st.compact, "keys": st.keys.Len(), "index-bytes": st.indexBytes(), "max-index-bytes": max(opts.MaxIndexBytes, 0),
		"took": time.Since(start).Round(time.Millisecond),
	}).Info("index built")
	return s, nil
}
