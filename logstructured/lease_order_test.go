package logstructured_test

import (
	"errors"
	"sync"
	"testing"

	ls "github.com/stele-db/stele/logstructured"
)

// TestKeepAlivesTakeEffectInOrder submits keep-alives between other requests for the same lease, and waits for them at
// the end.
func TestKeepAlivesTakeEffectInOrder(t *testing.T) {
	t.Parallel()
	store := startStore(t, openSQLite(t, tempDatabase(t)), ls.Options{LeaseMode: ls.LeaseModeEtcd})
	ctx := testContext(t)
	for range 50 {
		early := store.SubmitLeaseKeepAlive(ctx, ls.Unguarded, 7)
		if _, err := store.LeaseGrant(ctx, ls.Unguarded, 7, 60); err != nil {
			t.Fatal(err)
		}
		first := store.SubmitLeaseKeepAlive(ctx, ls.Unguarded, 7)
		second := store.SubmitLeaseKeepAlive(ctx, ls.Unguarded, 7)
		revoked, err := store.LeaseRevoke(ctx, ls.Unguarded, 7)
		if err != nil {
			t.Fatal(err)
		}
		late := store.SubmitLeaseKeepAlive(ctx, ls.Unguarded, 7)
		if _, err := early(); !errors.Is(err, ls.ErrLeaseNotFound) {
			t.Fatalf("a keep-alive before the grant: %v", err)
		}
		for _, wait := range []func() (*ls.LeaseGrantResult, error){first, second} {
			if res, err := wait(); err != nil || res.TTL != 60 {
				t.Fatalf("a keep-alive between grant and revocation: %+v, %v", res, err)
			}
		}
		if res, err := late(); !errors.Is(err, ls.ErrLeaseNotFound) || res.Revision < revoked {
			t.Fatalf("a keep-alive after the revocation: %+v, %v", res, err)
		}
	}
}

// TestKeepAliveIsEvaluatedAgainAfterConflict keeps a lease alive on a replica that has not applied its revocation. The
// answer must hold nothing of the evaluation before the conflict.
func TestKeepAliveIsEvaluatedAgainAfterConflict(t *testing.T) {
	t.Parallel()
	path, options := tempDatabase(t), ls.Options{LeaseMode: ls.LeaseModeEtcd}
	one, other := startStore(t, openSQLite(t, path), options), startStore(t, openSQLite(t, path), options)
	ctx := testContext(t)
	for id := range ls.LeaseID(20) {
		id++
		if _, err := one.LeaseGrant(ctx, ls.Unguarded, id, 60); err != nil {
			t.Fatal(err)
		}
		if _, err := other.LeaseKeepAlive(ctx, ls.Unguarded, id); err != nil {
			t.Fatal(err)
		}
		revoked, err := one.LeaseRevoke(ctx, ls.Unguarded, id)
		if err != nil {
			t.Fatal(err)
		}
		kept, err := other.LeaseKeepAlive(ctx, ls.Unguarded, id)
		want := ls.LeaseGrantResult{ID: id, Revision: revoked}
		if !errors.Is(err, ls.ErrLeaseNotFound) || *kept != want {
			t.Fatalf("a keep-alive: %+v, %v, want %+v", kept, err, want)
		}
	}
}

// TestRevocationIsLastOfItsGroup queues keep-alives after a revocation during an append.
func TestRevocationIsLastOfItsGroup(t *testing.T) {
	t.Parallel()
	log := newFaultyLog(openSQLite(t, tempDatabase(t)))
	store := startStore(t, log, ls.Options{LeaseMode: ls.LeaseModeEtcd})
	ctx := testContext(t)
	const leases = 10
	for id := range ls.LeaseID(leases) {
		if _, err := store.LeaseGrant(ctx, ls.Unguarded, id+1, 60); err != nil {
			t.Fatal(err)
		}
	}
	release := holdUp(t, log, store)
	var requests sync.WaitGroup
	for id := range ls.LeaseID(leases) {
		requests.Go(func() {
			if _, err := store.LeaseRevoke(ctx, ls.Unguarded, id+1); err != nil {
				t.Errorf("revoke lease %d: %v", id+1, err)
			}
		})
	}
	eventually(t, "all revocations are queued", func() bool { return store.Queued() == leases })
	var waits []func() (*ls.LeaseGrantResult, error)
	for id := range ls.LeaseID(leases) {
		waits = append(waits, store.SubmitLeaseKeepAlive(ctx, ls.Unguarded, id+1))
	}
	put := make(chan error, 1)
	go func() {
		_, err := store.Put(ctx, ls.Unguarded, &ls.PutRequest{Key: []byte("leased"), Lease: 1})
		put <- err
	}()
	eventually(t, "all requests are queued", func() bool { return store.Queued() == 2*leases+1 })
	release()
	for i, wait := range waits {
		if res, err := wait(); err != nil || res.TTL != 60 {
			t.Errorf("keep lease %d alive: %+v, %v", i+1, res, err)
		}
	}
	if err := <-put; err != nil {
		t.Errorf("put: %v", err)
	}
	requests.Wait()
	if res, err := store.Range(ctx, ls.Unguarded,
		&ls.RangeRequest{KeyRange: everything}); err != nil || res.Count != 1 {
		t.Errorf("after the revocations: %v, %v", res, err)
	}
}
