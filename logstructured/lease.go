package logstructured

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
)

// LeaseGrant grants a lease of ttl seconds, with a random ID if id is 0. In [LeaseModeTTL] the ID is the TTL and
// nothing is stored; id must be 0 or that TTL.
func (s *Store) LeaseGrant(ctx context.Context, guard Guard, id LeaseID, ttl int64) (*LeaseGrantResult, error) {
	if err := s.admit(ctx, costOfLease); err != nil {
		return nil, err
	}
	if ttl > MaxLeaseTTL {
		return nil, cmp.Or(s.passHere(ctx, guard), ErrLeaseTTLTooLarge)
	}
	ttl = max(ttl, minLeaseTTL)
	if s.opts.LeaseMode == LeaseModeTTL {
		return s.nameTTL(ctx, guard, id, ttl)
	}
	result := &LeaseGrantResult{TTL: ttl}
	err := s.write(ctx, 0, func(st *step) error {
		if err := st.admit(costOfLease); err != nil {
			return err
		}
		if err := st.st.pass(guard); err != nil {
			return err
		}
		result.Revision, result.ID = st.st.revision, id
		for result.ID == 0 || id == 0 && st.st.lease(result.ID) != nil {
			result.ID = LeaseID(rand.Int64())
		}
		if st.st.lease(result.ID) != nil {
			return ErrLeaseExists
		}
		st.grant(result.ID, ttl)
		return nil
	})
	if err != nil {
		return nil, s.reportFull(ctx, err)
	}
	return result, nil
}

// nameTTL answers LeaseGrant in [LeaseModeTTL]: it writes nothing, but is linearized like a grant that does.
func (s *Store) nameTTL(ctx context.Context, guard Guard, id LeaseID, ttl int64) (*LeaseGrantResult, error) {
	if err := s.linearize(ctx); err != nil {
		return nil, err
	}
	snap := s.snapshot()
	if err := snap.pass(guard); err != nil {
		return nil, err
	}
	if err := s.alarms.Of(Records{&snap.control}).admit(costOfLease); err != nil {
		return nil, err
	}
	if id != 0 && id != LeaseID(ttl) {
		return nil, ErrLeaseMode
	}
	return &LeaseGrantResult{Revision: snap.revision, ID: LeaseID(ttl), TTL: ttl}, nil
}

// LeaseRevoke ends a lease and deletes its keys, in one revision, and returns the current revision. It takes effect
// after all other requests in the same append: a keep-alive that the client sent earlier, on a stream, often reaches
// the writer a moment later.
func (s *Store) LeaseRevoke(ctx context.Context, guard Guard, id LeaseID) (Revision, error) {
	var revision Revision
	revoke := &request{ctx: ctx, last: true, evaluate: func(st *step) error {
		if err := st.admit(cost{}); err != nil {
			return err
		}
		if st.st.lease(id) == nil {
			return ErrLeaseNotFound
		}
		st.revoke(id)
		revision = st.st.revision
		return nil
	}}
	err := s.submitLease(guard, revoke)()
	return revision, err
}

// LeaseKeepAlive extends a lease to its full TTL from now on. The log holds the keep-alive when LeaseKeepAlive returns;
// all concurrent keep-alives share one entry. [ErrLeaseNotFound] comes with the revision at which the lease did not
// exist.
func (s *Store) LeaseKeepAlive(ctx context.Context, guard Guard, id LeaseID) (*LeaseGrantResult, error) {
	return s.SubmitLeaseKeepAlive(ctx, guard, id)()
}

// SubmitLeaseKeepAlive queues a [Store.LeaseKeepAlive] and returns a function that waits for its result. The caller
// must call that function. Keep-alives take effect in the order in which they are submitted, and before a revocation
// that is requested afterwards.
func (s *Store) SubmitLeaseKeepAlive(
	ctx context.Context, guard Guard, id LeaseID,
) (wait func() (*LeaseGrantResult, error)) {
	result := &LeaseGrantResult{ID: id}
	found := false
	await := s.submitLease(guard, &request{ctx: ctx, evaluate: func(st *step) error {
		// After a conflict it is evaluated again: nothing of the first result may remain.
		*result = LeaseGrantResult{ID: id, Revision: st.st.revision}
		l := st.st.lease(id)
		if found = l != nil; found {
			st.renewed = append(st.renewed, id)
			result.TTL = l.ttl
		}
		return nil
	}})
	return func() (*LeaseGrantResult, error) {
		switch err := await(); {
		case err != nil:
			return nil, err
		case !found:
			return result, ErrLeaseNotFound
		}
		return result, nil
	}
}

// LeaseTimeToLive returns the TTL of a lease and the time that is left, and also its keys if keys is set.
// [ErrLeaseNotFound] comes with the current revision.
func (s *Store) LeaseTimeToLive(
	ctx context.Context, guard Guard, id LeaseID, keys bool,
) (*LeaseTimeToLiveResult, error) {
	result := &LeaseTimeToLiveResult{ID: id}
	found := false
	err := s.writeLease(ctx, guard, func(st *step) error {
		*result = LeaseTimeToLiveResult{ID: id, Revision: st.st.revision}
		l := st.st.lease(id)
		if found = l != nil; !found {
			return nil
		}
		result.GrantedTTL, result.TTL = l.ttl, s.writer.leases.remaining(l)
		if keys {
			result.Keys = st.st.keysOf(id)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case !found:
		return result, ErrLeaseNotFound
	}
	return result, nil
}

// Leases returns the IDs of all leases, ordered by the time when they end.
func (s *Store) Leases(ctx context.Context, guard Guard) (ids []LeaseID, revision Revision, err error) {
	err = s.writeLease(ctx, guard, func(st *step) error {
		ids, revision = st.st.leaseIDs(), st.st.revision
		slices.SortStableFunc(ids, s.writer.leases.compare)
		return nil
	})
	return ids, revision, err
}

// writeLease is write for requests that only [LeaseModeEtcd] has.
func (s *Store) writeLease(ctx context.Context, guard Guard, evaluate func(*step) error) error {
	return s.submitLease(guard, &request{ctx: ctx, evaluate: evaluate})()
}

// submitLease is submit for requests that only [LeaseModeEtcd] has. The caller must call await.
func (s *Store) submitLease(guard Guard, r *request) (await func() error) {
	if err := s.OwnLeases(); err != nil {
		return func() error { return cmp.Or(s.passHere(r.ctx, guard), err) }
	}
	evaluate := r.evaluate
	r.evaluate = func(st *step) error {
		if err := st.st.pass(guard); err != nil {
			return err
		}
		return evaluate(st)
	}
	if err := s.submit(r); err != nil {
		return func() error { return err }
	}
	return func() error { return s.await(r) }
}

// OwnLeases returns nil in [LeaseModeEtcd], and [ErrLeaseMode] otherwise.
func (s *Store) OwnLeases() error {
	if s.opts.LeaseMode != LeaseModeEtcd {
		return ErrLeaseMode
	}
	return nil
}
