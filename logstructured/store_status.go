package logstructured

import (
	"context"
	"fmt"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// Status describes the store. It queries the database for its size, and returns the last known size if the database
// does not answer.
func (s *Store) Status(ctx context.Context, guard Guard) (*Status, error) {
	if err := s.passHere(ctx, guard); err != nil {
		return nil, err
	}
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
		Size:      log.Size{Total: 1}, // until the size is known: etcdctl divides by it
		ClusterID: s.cluster, Revision: snap.revision, CompactRevision: snap.compact,
		Applied: snap.head.Position, Term: s.Term(), Lost: lost,
	}
	if size := s.size.Load(); size != nil {
		st.Size = *size
	}
	return st, nil
}

// lostAfter is how long the database must have been silent before requests for the status of this replica stop querying
// it.
const lostAfter = time.Second

// Lost reports whether the database has not answered for a second.
func (s *Store) Lost() bool { return s.health.lostFor(lostAfter) }

// Refused returns why the database refuses writes. It returns nil if the database accepts them, or if no write has
// shown yet that it refuses them. The store sends a write of its own once a second until one succeeds.
func (s *Store) Refused() error {
	switch r := s.refusals.current.Load(); {
	case r == nil || !r.reported():
		return nil
	case r.full():
		return fmt.Errorf("the disk of the database is full, and writes fail until there is space: %w", r.err)
	default:
		return fmt.Errorf("the database refuses writes: %w", r.err)
	}
}

// Full reports whether the database refuses writes because its disk is full.
func (s *Store) Full() bool {
	r := s.refusals.current.Load()
	return r != nil && r.full()
}

// Revision returns the current revision as applied here.
func (s *Store) Revision() Revision { return s.snapshot().revision }

// ClusterID returns the identity of the store in the database, non-zero.
func (s *Store) ClusterID() uint64 { return s.cluster }

// Term returns the raft term of response headers.
func (s *Store) Term() uint64 { return s.snapshot().term }

// Ready returns nil if a linearizable read succeeds.
func (s *Store) Ready(ctx context.Context) error {
	return s.linearize(ctx)
}

// Defragment gives free space back to the file system. Requests for it run one after the other.
func (s *Store) Defragment(ctx context.Context, guard Guard) error {
	if err := s.Check(ctx, guard); err != nil {
		return err
	}
	select {
	case s.defragmenting <- struct{}{}:
		defer func() { <-s.defragmenting }()
	case <-s.timeouts.stopped:
		return ErrStopped
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := s.log.Defragment(ctx); err != nil {
		return unavailable(ctx, "defragment", err)
	}
	return nil
}
