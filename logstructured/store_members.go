package logstructured

import (
	"context"

	"github.com/stele-db/stele/logstructured/log"
)

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
