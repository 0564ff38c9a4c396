package logstructured

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/logstructured/log"
)

const (
	// heartbeatInterval is how often a replica says that it is there, and replicaTTL how long it counts as being there after that.
	heartbeatInterval = 3 * time.Second
	replicaTTL        = 10 * time.Second
	// farewell is how long a replica that stops may take to say so.
	farewell = time.Second
)

// members are the replicas that share the log, as far as this one knows.
type members struct {
	logger *logrus.Entry

	mu   sync.Mutex
	self log.Replica
	all  []log.Replica
	// heartbeats are those of all registered replicas.
	heartbeats presences
}

// Announce says who serves the store. Run then keeps it registered with the log, where the other replicas find it. Call it
// before Run.
func (s *Store) Announce(self log.Replica) {
	s.members.mu.Lock()
	defer s.members.mu.Unlock()
	s.members.self, s.members.all = self, []log.Replica{self}
}

// Replicas returns the replicas that serve the log, those that are there for longest first. With refresh it asks the database, and
// otherwise the list may be some seconds old.
func (s *Store) Replicas(ctx context.Context, refresh bool) ([]log.Replica, error) {
	if refresh {
		ctx, cancel := s.bound(ctx)
		defer cancel()
		if err := s.linearize(ctx); err != nil {
			return nil, err
		}
		if r, ok := s.log.(boundedLog).Log.(log.Registry); ok && s.members.self.ID != 0 {
			if err := s.members.beat(ctx, r); err != nil {
				return nil, unavailable(ctx, "register", err)
			}
		}
	}
	s.members.mu.Lock()
	defer s.members.mu.Unlock()
	return s.members.all, nil
}

// run keeps this replica registered until ctx ends.
func (m *members) run(ctx context.Context, r log.Registry) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for failed := false; ; {
		select {
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
			defer cancel()
			if err := r.Unregister(ctx, m.self.ID, 0); err != nil {
				m.logger.WithError(err).Debug("could not unregister; the others will notice")
			}
			return nil
		case <-timer.C:
		}
		err := m.beat(ctx, r)
		if err != nil && ctx.Err() == nil && !failed {
			m.logger.WithError(err).Debug("could not register this replica; trying again")
		}
		failed = err != nil
		timer.Reset(heartbeatInterval)
	}
}

// beat registers this replica once and learns of the others.
func (m *members) beat(ctx context.Context, r log.Registry) error {
	ctx, cancel := context.WithTimeout(ctx, heartbeatInterval)
	defer cancel()
	all, err := r.Register(ctx, m.self)
	if err != nil {
		return err
	}
	for _, silent := range m.note(all) {
		if err := r.Unregister(ctx, silent.ID, silent.Seen); err != nil {
			m.logger.WithError(err).Debug("could not remove a replica that is gone; trying again")
		}
	}
	return nil
}

// note takes the registered replicas, and returns those that are to be removed.
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
