package logstructured

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"

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
	content, err := loadServed(ctx, reporting(l, opts.Loading))
	if err == nil && content.st.mode != opts.LeaseMode {
		content, err = claimLeaseMode(ctx, l, content.st, opts.LeaseMode)
	}
	if err != nil {
		return nil, err
	}
	st := content.st
	s = newStore(l, opts, m, content.end.ClusterID)
	if size, err := l.Size(ctx); err == nil { // otherwise the first Status queries it
		s.size.Store(&size)
	}
	s.writer = newWriter(s.shared, st, content.leases, start)
	s.hub.publish(s.writer.published)
	s.applied.restart(s.writer.published.head)
	m.published(s.writer.published)
	s.logger.WithFields(logrus.Fields{
		"revision": st.revision, "compact-revision": st.compact, "keys": st.keys.Len(), "index-bytes": st.indexBytes(),
		"max-index-bytes": max(opts.MaxIndexBytes, 0), "took": time.Since(start).Round(time.Millisecond),
	}).Info("index built")
	return s, nil
}

// newStore returns a store without its writer.
func newStore(l log.Log, opts Options, m *metrics, cluster uint64) *Store {
	bounded, timeouts := boundedLog{l, opts.RequestTimeout}, newTimeouts(opts.RequestTimeout)
	s := &Store{
		shared: &shared{
			log: bounded, opts: opts, logger: opts.Logger, metrics: m, cluster: cluster,
			values: values{log: bounded, budget: opts.ValueCacheBytes, lanes: newLanes()},
			hub:    newHub(m), deleter: newDeleter(), alarms: Derive(readAlarms),
			health:   health{logger: opts.Logger, damages: m.damaged},
			refusals: refusals{logger: opts.Logger},
			queue:    newQueue(timeouts),
			behind:   make(chan struct{}, 1),
		},
		timeouts:      timeouts,
		members:       members{logger: opts.Logger},
		quota:         quota{log: bounded, bytes: opts.QuotaBytes},
		defragmenting: make(chan struct{}, 1),
	}
	s.values.alert = s.health.damaged
	s.notifier, _ = l.(log.Notifier)
	s.members.registry, _ = l.(log.Registry)
	s.reads = newReads(bounded, &s.applied, &s.health)
	s.watch = s.newWatchInputs()
	return s
}

func (s *Store) newWatchInputs() watchInputs {
	return watchInputs{
		hub: s.hub, reads: s.reads, values: &s.values, logger: s.logger, wakeFollower: s.wakeFollower,
		stopped: s.timeouts.stopped, requestTimeout: s.opts.RequestTimeout, progressInterval: s.opts.ProgressInterval,
	}
}
