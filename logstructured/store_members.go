package logstructured

import (
	"context"

	"github.com/stele-db/stele/logstructured/log"
)

// Announce sets the identity of this replica. Run then keeps it registered with the log, where the other replicas find
// it. Announce must be called before Run.
func (s *Store) Announce(self log.Replica) {
	s.members.mu.Lock()
	defer s.members.mu.Unlock()
	s.members.self, s.members.all = self, []log.Replica{self}
}

// Replicas returns the replicas that serve the log, the one that registered first at the front. With refresh it queries
// the database; otherwise the list may be some seconds old.
func (s *Store) Replicas(ctx context.Context, guard Guard, refresh bool) ([]log.Replica, error) {
	check := s.passHere
	if refresh {
		check = s.refreshReplicas
	}
	if err := check(ctx, guard); err != nil {
		return nil, err
	}
	s.members.mu.Lock()
	defer s.members.mu.Unlock()
	return s.members.all, nil
}

// refreshReplicas registers this replica and reads the other replicas from the database, if guard permits it.
func (s *Store) refreshReplicas(ctx context.Context, guard Guard) error {
	ctx, cancel := s.timeouts.bound(ctx)
	defer cancel()
	if err := s.Check(ctx, guard); err != nil {
		return err
	}
	if s.members.registered() {
		if err := s.members.beat(ctx); err != nil {
			return unavailable(ctx, "register", err)
		}
	}
	return nil
}
