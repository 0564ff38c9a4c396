package logstructured_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/memory"
	ls "github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
)

var modeEtcd = ls.Options{LeaseMode: ls.LeaseModeEtcd}

func mustGrant(t testing.TB, r *replica, id ls.LeaseID, ttl int64) ls.LeaseID {
	t.Helper()
	res, err := r.LeaseGrant(testContext(t), ls.Unguarded, id, ttl)
	if err != nil || id != 0 && res.ID != id || res.ID == 0 {
		t.Fatalf("grant %d for %d s: %+v, %v", id, ttl, res, err)
	}
	return res.ID
}

// leaseText describes a lease, its time left aside.
func leaseText(t testing.TB, r *replica, id ls.LeaseID) string {
	t.Helper()
	res, err := r.LeaseTimeToLive(testContext(t), ls.Unguarded, id, true)
	if errors.Is(err, ls.ErrLeaseNotFound) {
		return fmt.Sprintf("none at %d", res.Revision)
	}
	if err != nil {
		t.Fatal(err)
	}
	if res.TTL > res.GrantedTTL || res.TTL < 0 {
		t.Errorf("lease %d of %d s lasts %d s", id, res.GrantedTTL, res.TTL)
	}
	return fmt.Sprintf("%d s %q at %d", res.GrantedTTL, res.Keys, res.Revision)
}

func TestLeasesOfTheirOwn(t *testing.T) {
	t.Parallel()
	path := tempDatabase(t)
	store := startStore(t, openSQLite(t, path), modeEtcd)
	ctx := testContext(t)
	random := mustGrant(t, store, 0, 100)
	mustGrant(t, store, -7, 1) // raised to the least TTL
	mustGrant(t, store, 8, ls.MaxLeaseTTL)
	if _, err := store.LeaseGrant(ctx, ls.Unguarded, 8, 5); !errors.Is(err, ls.ErrLeaseExists) {
		t.Errorf("a second grant: %v", err)
	}
	if _, err := store.LeaseGrant(ctx, ls.Unguarded, 9, ls.MaxLeaseTTL+1); !errors.Is(err, ls.ErrLeaseTTLTooLarge) {
		t.Errorf("too large a TTL: %v", err)
	}
	if _, err := store.LeaseKeepAlive(ctx, ls.Unguarded, 9); !errors.Is(err, ls.ErrLeaseNotFound) {
		t.Errorf("keep-alive of no lease: %v", err)
	}
	if _, err := store.LeaseRevoke(ctx, ls.Unguarded, 9); !errors.Is(err, ls.ErrLeaseNotFound) {
		t.Errorf("revocation of no lease: %v", err)
	}
	if _, err := store.Put(ctx, ls.Unguarded,
		&ls.PutRequest{Key: []byte("key"), Lease: 9}); !errors.Is(err, ls.ErrLeaseNotFound) {
		t.Errorf("put with no lease: %v", err)
	}
	mustMatch(t, "no lease", leaseText(t, store, 9), "none at 1")
	mustMatch(t, "the shortest", leaseText(t, store, -7), "2 s [] at 1")

	putLeased(t, store, 8, "b", "a", "moves", "detached", "deleted")
	putLeased(t, store, random, "moves")
	store.mustPut(t, "detached", "")
	if _, err := store.DeleteRange(ctx, ls.Unguarded,
		&ls.DeleteRangeRequest{KeyRange: ls.KeyRange{Key: []byte("deleted")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Put(ctx, ls.Unguarded, &ls.PutRequest{Key: []byte("a"), IgnoreLease: true}); err != nil {
		t.Fatal(err)
	}
	check := func(r *replica) {
		t.Helper()
		mustMatch(t, "the lease of most", leaseText(t, r, 8), fmt.Sprintf(`%d s ["a" "b"] at 10`, ls.MaxLeaseTTL))
		mustMatch(t, "the random lease", leaseText(t, r, random), `100 s ["moves"] at 10`)
		ids, revision, err := r.Leases(testContext(t), ls.Unguarded)
		if err != nil || revision != 10 || !slices.Contains(ids, 8) || !slices.Contains(ids, random) {
			t.Errorf("leases %v at %d, %v", ids, revision, err)
		}
	}
	check(store)
	check(startStore(t, openSQLite(t, path), modeEtcd))

	// Of its keys those that it has when it ends are deleted, in one revision and in key order.
	ws := watchEverything(t, store, 0)
	if revision, err := store.LeaseRevoke(ctx, ls.Unguarded, 8); err != nil || revision != 11 {
		t.Errorf("revoked at %d: %v", revision, err)
	}
	mustMatch(t, "the revocation", deletedKeys(nextResponse(t, ws)), "a@11 b@11 ")
	mustMatch(t, "the revoked lease", leaseText(t, store, 8), "none at 11")
	// Without keys it takes no revision, and the ID is free again.
	mustGrant(t, store, 8, 60)
	if revision, err := store.LeaseRevoke(ctx, ls.Unguarded, 8); err != nil || revision != 11 {
		t.Errorf("revoked at %d: %v", revision, err)
	}
}

// TestLeaseExpiresOnAnotherReplica lets a lease that another replica granted expire. A lease that is kept alive through
// a third replica continues.
func TestLeaseExpiresOnAnotherReplica(t *testing.T) {
	t.Parallel()
	replicas := startReplicas(t, 3, modeEtcd)
	mustGrant(t, replicas[0], 1, 2)
	mustGrant(t, replicas[1], 2, 2)
	putLeased(t, replicas[2], 1, "kept")
	began := putLeased(t, replicas[0], 2, "lost-b", "lost-a")
	ws := watchEverything(t, replicas[1], 5)
	for i := 0; time.Since(began) < 5*time.Second; i++ {
		if res, err := replicas[i%3].LeaseKeepAlive(testContext(t), ls.Unguarded, 1); err != nil || res.TTL != 2 {
			t.Fatalf("keep-alive %d after %v: %+v, %v", i, time.Since(began), res, err)
		}
		elapse(50 * time.Millisecond)
	}
	mustMatch(t, "the expiry", deletedKeys(nextResponse(t, ws)), "lost-a@5 lost-b@5 ")
	for i, r := range replicas {
		eventually(t, "all have applied it", func() bool { return r.Revision() == 5 })
		mustMatch(t, fmt.Sprint("the lost lease on replica ", i), leaseText(t, r, 2), "none at 5")
		mustMatch(t, fmt.Sprint("the kept lease on replica ", i), leaseText(t, r, 1), `2 s ["kept"] at 5`)
	}
	stopped := time.Now()
	mustMatch(t, "the end", deletedKeys(nextResponse(t, ws)), "kept@6 ")
	if took := time.Since(stopped); took < time.Second {
		t.Errorf("it ended %v after it was last kept alive", took)
	}
}

// TestOutageExtendsLeases extends leases by a whole TTL after a time in which their clients could not keep them alive.
func TestOutageExtendsLeases(t *testing.T) {
	t.Parallel()
	db := new(memory.Database)
	l := newFaultyLog(db.Open())
	store := startStore(t, l, modeEtcd)
	mustGrant(t, store, 1, 3)
	putLeased(t, store, 1, "key")
	l.fail(lookAway)
	elapse(5 * time.Second)
	l.heal()
	back := time.Now()
	mustMatch(t, "the lease after an outage", leaseText(t, store, 1), `3 s ["key"] at 2`)
	ws := watchEverything(t, store, 2)
	nextResponse(t, ws)
	mustMatch(t, "the end", deletedKeys(nextResponse(t, ws)), "key@3 ")
	if took := time.Since(back); took < 2900*time.Millisecond {
		t.Errorf("it ended %v after the database came back", took)
	}

	// And the same after all servers were down.
	mustGrant(t, store, 2, 3)
	putLeased(t, store, 2, "key")
	store.stop(t)
	elapse(4 * time.Second)
	back = time.Now()
	store = startStore(t, db.Open(), modeEtcd)
	ws = watchEverything(t, store, 4)
	nextResponse(t, ws)
	mustMatch(t, "the end", deletedKeys(nextResponse(t, ws)), "key@5 ")
	if took := time.Since(back); took < 2900*time.Millisecond {
		t.Errorf("it ended %v after the start", took)
	}
}

// TestConcurrentKeepAlivesShareEntries keeps many leases alive at once through several replicas. Concurrent keep-alives
// share one entry, and superseded entries are deleted.
func TestConcurrentKeepAlivesShareEntries(t *testing.T) {
	t.Parallel()
	path := tempDatabase(t)
	opts := ls.Options{LeaseMode: ls.LeaseModeEtcd, CompactRetention: time.Nanosecond}
	replicas := []*replica{startStore(t, openSQLite(t, path), opts), startStore(t, openSQLite(t, path), opts)}
	const leases, rounds = 300, 5
	for round := range rounds {
		var all sync.WaitGroup
		for i := range ls.LeaseID(leases) {
			all.Go(func() {
				r := replicas[int(i)%2]
				if round == 0 {
					mustGrant(t, r, i+1, 1000)
				} else if _, err := r.LeaseKeepAlive(testContext(t), ls.Unguarded, i+1); err != nil {
					t.Errorf("keep-alive: %v", err)
				}
			})
		}
		all.Wait()
	}
	l := openSQLite(t, path)
	defer l.Close()
	kinds := func() map[log.Kind]int {
		count := map[log.Kind]int{}
		if _, err := l.Scan(t.Context(), 0, func(entries []log.Entry) error {
			for _, e := range entries {
				count[e.Kind]++
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return count
	}
	before := kinds()
	if n := before[log.KindKeepAlive]; n == 0 || n > leases*(rounds-1)/2 || before[log.KindLease] != leases {
		t.Errorf("%d leases that were kept alive %d times are %d entries, and the keep-alives %d",
			leases, rounds-1, before[log.KindLease], n)
	}
	for i := range ls.LeaseID(leases) {
		if i != 100 {
			if _, err := replicas[0].LeaseRevoke(testContext(t), ls.Unguarded, i+1); err != nil {
				t.Fatal(err)
			}
		}
	}
	store := replicas[1]
	if _, err := store.Compact(testContext(t), ls.Unguarded, store.mustPut(t, "key", ""), false); err != nil {
		t.Fatal(err)
	}
	// One lease, its newest keep-alive, the mode, a key and the compaction.
	want := map[log.Kind]int{
		log.KindPut: 1, log.KindLease: 1, log.KindKeepAlive: 1, log.KindRecord: 1, log.KindCompaction: 1,
	}
	eventually(t, "garbage has been deleted", func() bool { return maps.Equal(kinds(), want) })
	mustMatch(t, "the last lease", leaseText(t, startStore(t, openSQLite(t, path), opts), 101), `1000 s [] at 2`)
}

// TestLeaseModeConversion opens logs in the other lease mode, and converts them.
func TestLeaseModeConversion(t *testing.T) {
	t.Parallel()
	path := tempDatabase(t)
	store := startStore(t, openSQLite(t, path), ls.Options{})
	putLeased(t, store, 100, "a", "b")
	putLeased(t, store, 200, "c", "former")
	store.mustPut(t, "former", "")
	for _, call := range []func() error{
		func() error { _, err := store.LeaseRevoke(testContext(t), ls.Unguarded, 100); return err },
		func() error { _, err := store.LeaseKeepAlive(testContext(t), ls.Unguarded, 100); return err },
		func() error { _, err := store.LeaseTimeToLive(testContext(t), ls.Unguarded, 100, true); return err },
		func() error { _, _, err := store.Leases(testContext(t), ls.Unguarded); return err },
		func() error { _, err := store.LeaseGrant(testContext(t), ls.Unguarded, 1, 100); return err },
	} {
		if err := call(); !errors.Is(err, ls.ErrLeaseMode) {
			t.Errorf("in mode ttl: %v", err)
		}
	}
	open := func(mode ls.LeaseMode, want error) {
		t.Helper()
		opts := ls.Options{LeaseMode: mode, Logger: testLogger(t)}
		if _, err := ls.Open(t.Context(), openSQLite(t, path), opts); !errors.Is(err, want) {
			t.Errorf("open in mode %s: %v", mode, err)
		}
	}
	open(ls.LeaseModeEtcd, ls.ErrLeaseModeMismatch)
	other := startStore(t, openSQLite(t, path), ls.Options{})

	if keys, err := store.ConvertLeases(testContext(t), ls.LeaseModeEtcd); err != nil || keys != 3 {
		t.Fatalf("convert %d keys: %v", keys, err)
	}
	store.stop(t)
	open(ls.LeaseModeTTL, ls.ErrLeaseModeMismatch)
	if _, err := other.Range(testContext(t), ls.Unguarded,
		&ls.RangeRequest{KeyRange: everything}); !errors.Is(err, ls.ErrUnavailable) && !errors.Is(err, ls.ErrTimeout) {
		t.Errorf("a replica of the previous mode reads: %v", err)
	}
	other.stop(t)

	store = startStore(t, openSQLite(t, path), modeEtcd)
	mustMatch(t, "the lease of two keys", leaseText(t, store, 100), `100 s ["a" "b"] at 6`)
	mustMatch(t, "the lease of one", leaseText(t, store, 200), `200 s ["c"] at 6`)
	mustGrant(t, store, -5, 500)
	putLeased(t, store, -5, "d")
	if keys, err := store.ConvertLeases(testContext(t), ls.LeaseModeTTL); err != nil || keys != 4 {
		t.Fatalf("convert %d keys back: %v", keys, err)
	}
	store.stop(t)
	store = startStore(t, openSQLite(t, path), ls.Options{})
	res, err := store.Range(testContext(t), ls.Unguarded, &ls.RangeRequest{KeyRange: everything})
	if err != nil || res.Revision != 8 || res.Count != 5 {
		t.Fatalf("after the conversions: %s", resultText(res, err))
	}
	for i, longest := range []int64{100, 100, 200, 500, 0} {
		kv := res.KVs[i]
		if kv.Lease > longest || kv.Lease < longest-60 ||
			longest > 0 && (kv.ModRevision != 8 || string(kv.Value) != "v" || kv.Version != 2) {
			t.Errorf("%s", kv)
		}
	}
}
