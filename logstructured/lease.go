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
	if err := s.reserveSpace(ctx, costOfLease.database); err != nil {
		return nil, err
	}
	if ttl > MaxLeaseTTL {
		return nil, cmp.Or(s.passHere(ctx, guard), ErrLeaseTTLTooLarge)
	}
	ttl = max(ttl, minLeaseTTL)
	if s.opts.LeaseMode == LeaseModeTTL {
		return s.nameTTL(ctx, guard, id, ttl)
	}
	c := call{guard: guard, alarms: alarmsBeforeGuard, cost: cost{index: costOfLease.index}}
	return update(ctx, s, c, func(ev *evaluation) (*LeaseGrantResult, error) {
		result := &LeaseGrantResult{Revision: ev.st.revision, ID: id, TTL: ttl}
		for result.ID == 0 || id == 0 && ev.st.lease(result.ID) != nil {
			result.ID = LeaseID(rand.Int64())
		}
		if ev.st.lease(result.ID) != nil {
			return nil, ErrLeaseExists
		}
		ev.grant(result.ID, ttl)
		return result, nil
	})
}

// nameTTL answers LeaseGrant in [LeaseModeTTL]: it writes nothing, but is linearized like a grant that does.
func (s *Store) nameTTL(ctx context.Context, guard Guard, id LeaseID, ttl int64) (*LeaseGrantResult, error) {
	snap, err := s.current(ctx, guard)
	if err != nil {
		return nil, err
	}
	if err := s.alarms.Of(Records{&snap.control}).check(costOfLease); err != nil {
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
	c := call{guard: guard, alarms: alarmsAfterGuard, last: true}
	return submitLease(ctx, s, c, func(ev *evaluation) (Revision, error) {
		if ev.st.lease(id) == nil {
			return 0, ErrLeaseNotFound
		}
		ev.revoke(id)
		return ev.st.revision, nil
	})()
}

// found is the answer to a request for a lease. err is [ErrLeaseNotFound] if the lease does not exist; the result then
// still has the revision.
type found[R any] struct {
	result R
	err    error
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
	await := submitLease(ctx, s, call{guard: guard}, func(ev *evaluation) (found[*LeaseGrantResult], error) {
		result := &LeaseGrantResult{ID: id, Revision: ev.st.revision}
		l := ev.st.lease(id)
		if l == nil {
			return found[*LeaseGrantResult]{result, ErrLeaseNotFound}, nil
		}
		ev.keptAlive = append(ev.keptAlive, id)
		result.TTL = l.ttl
		return found[*LeaseGrantResult]{result, nil}, nil
	})
	return func() (*LeaseGrantResult, error) {
		lease, err := await()
		return lease.result, cmp.Or(err, lease.err)
	}
}

// LeaseTimeToLive returns the TTL of a lease and the time that is left, and also its keys if keys is set.
// [ErrLeaseNotFound] comes with the current revision.
func (s *Store) LeaseTimeToLive(
	ctx context.Context, guard Guard, id LeaseID, keys bool,
) (*LeaseTimeToLiveResult, error) {
	await := submitLease(ctx, s, call{guard: guard}, func(ev *evaluation) (found[*LeaseTimeToLiveResult], error) {
		result := &LeaseTimeToLiveResult{ID: id, Revision: ev.st.revision}
		l := ev.st.lease(id)
		if l == nil {
			return found[*LeaseTimeToLiveResult]{result, ErrLeaseNotFound}, nil
		}
		result.GrantedTTL, result.TTL = l.ttl, ev.leases.remaining(l)
		if keys {
			result.Keys = ev.st.keysOf(id)
		}
		return found[*LeaseTimeToLiveResult]{result, nil}, nil
	})
	lease, err := await()
	return lease.result, cmp.Or(err, lease.err)
}

// Leases returns the IDs of all leases, ordered by the time when they end.
func (s *Store) Leases(ctx context.Context, guard Guard) (ids []LeaseID, revision Revision, err error) {
	type list struct {
		ids      []LeaseID
		revision Revision
	}
	all, err := submitLease(ctx, s, call{guard: guard}, func(ev *evaluation) (list, error) {
		ids := ev.st.leaseIDs()
		slices.SortStableFunc(ids, ev.leases.compare)
		return list{ids, ev.st.revision}, nil
	})()
	return all.ids, all.revision, err
}

// submitLease is submit for requests that only [LeaseModeEtcd] has. The caller must call wait.
func submitLease[R any](
	ctx context.Context, s *Store, c call, evaluate func(*evaluation) (R, error),
) (wait func() (R, error)) {
	if err := s.OwnLeases(); err != nil {
		return func() (result R, _ error) { return result, cmp.Or(s.passHere(ctx, c.guard), err) }
	}
	return submit(ctx, s, c, evaluate).wait
}

// OwnLeases returns nil in [LeaseModeEtcd], and [ErrLeaseMode] otherwise.
func (s *Store) OwnLeases() error {
	if s.opts.LeaseMode != LeaseModeEtcd {
		return ErrLeaseMode
	}
	return nil
}
