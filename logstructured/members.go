package logstructured

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/logstructured/log"
)

// unregisterTimeout bounds the time in which a stopping replica unregisters.
const unregisterTimeout = time.Second

// members are the replicas that share the log, as far as this one knows.
type members struct {
	logger *logrus.Entry
	// registry is nil if all replicas run on one machine.
	registry log.Registry

	mu   sync.Mutex
	self log.Replica
	all  []log.Replica
	// heartbeats are the heartbeats of all registered replicas.
	heartbeats presences
}

// own returns the identity of this replica, zero before Announce.
func (m *members) own() log.Replica {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.self
}

// registered reports whether this replica keeps itself registered.
func (m *members) registered() bool { return m.registry != nil && m.own().ID != 0 }

// run keeps this replica registered until ctx ends.
func (m *members) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for failed := false; ; {
		select {
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unregisterTimeout)
			defer cancel()
			if err := m.registry.Unregister(ctx, m.own().ID, 0); err != nil {
				m.logger.WithError(err).Debug("could not unregister; the others will notice")
			}
			return nil
		case <-timer.C:
		}
		err := m.beat(ctx)
		if err != nil && ctx.Err() == nil && !failed {
			m.logger.WithError(err).Debug("could not register this replica; trying again")
		}
		failed = err != nil
		timer.Reset(heartbeatInterval)
	}
}

// beat registers this replica once and reads the list of replicas. It removes replicas that have been silent for too
// long.
func (m *members) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, heartbeatInterval)
	defer cancel()
	all, err := m.registry.Register(ctx, m.own())
	if err != nil {
		return err
	}
	for _, silent := range m.note(all) {
		if err := m.registry.Unregister(ctx, silent.ID, silent.Seen); err != nil {
			m.logger.WithError(err).Debug("could not remove a replica that is gone; trying again")
		}
	}
	return nil
}

// note records the registered replicas, and returns the ones to be removed.
func (m *members) note(all []log.Replica) (forgotten []log.Replica) {
	m.mu.Lock()
	defer m.mu.Unlock()
	self := slices.IndexFunc(all, func(r log.Replica) bool { return r.ID == m.self.ID })
	if self < 0 {
		return nil
	}
	m.all, forgotten = m.heartbeats.update(all, m.self.ID, all[self].Seen, time.Now())
	return forgotten
}
