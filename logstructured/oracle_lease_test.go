package logstructured_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/stele-db/stele/drivers/memory"
	ls "github.com/stele-db/stele/logstructured"
)

// clockSlack is how much earlier than its TTL a key may go, for timestamps are cut to milliseconds; promptly is how
// long after it a key may stay on a busy machine.
const (
	clockSlack = 5 * time.Millisecond
	promptly   = 10 * time.Second
)

// putLeased writes keys with a lease, each in a revision of its own, and returns when the last write began.
func putLeased(t testing.TB, store *replica, lease ls.LeaseID, keys ...string) (began time.Time) {
	t.Helper()
	for _, key := range keys {
		began = time.Now()
		if _, err := store.Put(testContext(t), ls.Unguarded,
			&ls.PutRequest{Key: []byte(key), Value: []byte("v"), Lease: lease}); err != nil {
			t.Fatalf("put %q with lease %d: %v", key, lease, err)
		}
	}
	return began
}

// deletions watches everything from the beginning and returns each deleted key's revision once n keys were deleted,
// and when the last of them was.
func deletions(t testing.TB, store *replica, n int) (revisions map[string]int64, at time.Time) {
	t.Helper()
	ws := store.NewWatchStream()
	defer ws.Close()
	ws.Create(ls.Unguarded, ls.WatchRequest{KeyRange: everything, StartRevision: 1, NoPut: true})
	revisions = map[string]int64{}
	for len(revisions) < n {
		for _, ev := range nextResponse(t, ws).Events {
			if revisions[string(ev.Kv.Key)] != 0 {
				t.Fatalf("%q was deleted twice", ev.Kv.Key)
			}
			revisions[string(ev.Kv.Key)] = ev.Kv.ModRevision
		}
	}
	return revisions, time.Now()
}

func mustExpireAfter(t testing.TB, ttl time.Duration, began, at time.Time) {
	t.Helper()
	if took := at.Sub(began); took < ttl-clockSlack || took > ttl+promptly {
		t.Errorf("expired %v after its write, with a TTL of %v", took, ttl)
	}
}

func TestLeaseExpires(t *testing.T) {
	t.Parallel()
	store := startStore(t, openSQLite(t, tempDatabase(t)), ls.Options{})
	putLeased(t, store, ls.MaxLeaseTTL, "lasting")
	putLeased(t, store, 1, "detached")
	store.mustPut(t, "detached", "a plain put has no lease")
	began := putLeased(t, store, 1, "b", "c", "a")
	_, at := deletions(t, store, 3)
	mustExpireAfter(t, time.Second, began, at)

	res, err := store.Range(testContext(t), ls.Unguarded, &ls.RangeRequest{KeyRange: everything, KeysOnly: true})
	if err != nil || len(res.KVs) != 2 || string(res.KVs[0].Key) != "detached" || string(res.KVs[1].Key) != "lasting" {
		t.Errorf("the remaining keys: %s", resultText(res, err))
	}
	// Keys that expire together are deleted in one revision, in key order.
	if res.Revision < 7+1 || res.Revision > 7+3 {
		t.Errorf("revision %d after 6 writes and the expiry of 3 keys", res.Revision)
	}
}

func TestLeaseOfATransactionExpiresInOneRevision(t *testing.T) {
	t.Parallel()
	store := startStore(t, openSQLite(t, tempDatabase(t)), ls.Options{})
	txn := &ls.TxnRequest{}
	for _, key := range []string{"c", "a", "b", "d"} {
		txn.Success = append(txn.Success, &ls.PutRequest{Key: []byte(key), Lease: 1})
	}
	if _, err := store.Txn(testContext(t), ls.Unguarded, txn); err != nil {
		t.Fatal(err)
	}
	ws := store.NewWatchStream()
	defer ws.Close()
	ws.Create(ls.Unguarded, ls.WatchRequest{KeyRange: everything})
	nextResponse(t, ws)
	mustMatch(t, "the expiry", deletedKeys(nextResponse(t, ws)), "a@3 b@3 c@3 d@3 ")
}

func deletedKeys(r *ls.WatchResponse) (text string) {
	for _, ev := range r.Events {
		if ev.Type != mvccpb.Event_DELETE {
			text += "not deleted: "
		}
		text += fmt.Sprintf("%s@%d ", ev.Kv.Key, ev.Kv.ModRevision)
	}
	return text
}

// TestLeaseRewriteExtends writes a key for longer than its TTL, in each of the ways that keep its lease.
func TestLeaseRewriteExtends(t *testing.T) {
	t.Parallel()
	store := startStore(t, openSQLite(t, tempDatabase(t)), ls.Options{})
	began := putLeased(t, store, 1, "key")
	for i, start := 0, time.Now(); time.Since(start) < 2500*time.Millisecond; i++ {
		began = time.Now()
		op := &ls.PutRequest{Key: []byte("key"), Lease: 1}
		switch i % 3 {
		case 0:
			op = &ls.PutRequest{Key: []byte("key"), IgnoreLease: true}
		case 1:
			op.IgnoreValue = true
		}
		if _, err := store.Put(testContext(t), ls.Unguarded, op); err != nil {
			t.Fatalf("rewrite %d, %v after the first write: %v", i, time.Since(start), err)
		}
		elapse(100 * time.Millisecond)
	}
	revisions, at := deletions(t, store, 1)
	mustExpireAfter(t, time.Second, began, at)
	if got := int64(store.Revision()); revisions["key"] != got {
		t.Errorf("deleted at revision %d, before the last write: now %d", revisions["key"], got)
	}
}

// TestLeaseSurvivesReopen closes the store before keys expire, and opens it before and after they do.
func TestLeaseSurvivesReopen(t *testing.T) {
	t.Parallel()
	path := tempDatabase(t)
	store := startStore(t, openSQLite(t, path), ls.Options{})
	early := putLeased(t, store, 1, "early")
	late := putLeased(t, store, 3, "late")
	last := putLeased(t, store, 100, "last")
	store.stop(t)
	elapse(time.Until(early.Add(1200 * time.Millisecond)))

	store = startStore(t, openSQLite(t, path), ls.Options{})
	_, at := deletions(t, store, 1)
	mustExpireAfter(t, time.Second, early, at)
	store.stop(t)
	store = startStore(t, openSQLite(t, path), ls.Options{})
	revisions, at := deletions(t, store, 2)
	mustExpireAfter(t, 3*time.Second, late, at)
	if len(revisions) != 2 || revisions["early"] != 5 || revisions["late"] != 6 {
		t.Errorf("deleted %v", revisions)
	}
	res, err := store.Range(testContext(t), ls.Unguarded, &ls.RangeRequest{KeyRange: everything})
	if time.Since(last) < 100*time.Second && (err != nil || res.Count != 1) {
		t.Errorf("the remaining keys: %s", resultText(res, err))
	}
}

// TestLeaseSweptByReplicas sweeps the same keys with three stores.
func TestLeaseSweptByReplicas(t *testing.T) {
	t.Parallel()
	replicas := startReplicas(t, 3, ls.Options{})
	var keys []string
	for i := range 60 {
		keys = append(keys, fmt.Sprintf("key-%02d", i))
	}
	began := time.Now()
	for i := range keys {
		putLeased(t, replicas[i%3], 1, keys[i])
	}
	for _, r := range replicas {
		revisions, at := deletions(t, r, len(keys)) // fails on a key that is deleted twice
		mustExpireAfter(t, time.Second, began, at)
		if len(revisions) != len(keys) {
			t.Errorf("%d of %d keys expired", len(revisions), len(keys))
		}
	}
	// Each append of a sweep is one revision that deleted something.
	res, err := replicas[0].Range(testContext(t), ls.Unguarded, &ls.RangeRequest{KeyRange: everything})
	if err != nil || res.Count != 0 {
		t.Fatalf("after the sweep: %s", resultText(res, err))
	}
	seen, _ := deletions(t, replicas[0], len(keys))
	distinct := map[int64]bool{}
	for _, rev := range seen {
		distinct[rev] = true
	}
	if want := ls.Revision(1 + len(keys) + len(distinct)); res.Revision != want {
		t.Errorf("revision %d after %d writes and %d sweeps", res.Revision, len(keys), len(distinct))
	}
}

func TestLeaseGrantInModeTTL(t *testing.T) {
	t.Parallel()
	store := startStore(t, openSQLite(t, tempDatabase(t)), ls.Options{})
	ctx := testContext(t)
	res, err := store.LeaseGrant(ctx, ls.Unguarded, 0, 60)
	if err != nil || res.ID != 60 || res.TTL != 60 || res.Revision != 1 {
		t.Errorf("grant: %+v, %v", res, err)
	}
	if _, err := store.LeaseGrant(ctx, ls.Unguarded, 0, ls.MaxLeaseTTL+1); !errors.Is(err, ls.ErrLeaseTTLTooLarge) {
		t.Errorf("grant of too large a TTL: %v", err)
	}
	for _, id := range []ls.LeaseID{-1, ls.MaxLeaseTTL + 1, 0x694d7ab1c2d3e4f5} {
		if _, err := store.Put(ctx, ls.Unguarded,
			&ls.PutRequest{Key: []byte("key"), Lease: id}); !errors.Is(err, ls.ErrLeaseNotFound) {
			t.Errorf("put with lease %d: %v", id, err)
		}
	}
	if store.Revision() != 1 {
		t.Errorf("revision %d though nothing was written", store.Revision())
	}
}

// TestKeysExpireDuringWatchCreations keeps the writer busy with polling the log. Keys must still expire.
func TestKeysExpireDuringWatchCreations(t *testing.T) {
	t.Parallel()
	store := startStore(t, new(memory.Database).Open(), ls.Options{PollInterval: patience})
	if _, err := store.Put(testContext(t), ls.Unguarded, &ls.PutRequest{Key: []byte("k"), Lease: 2}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the key expires", func() bool {
		ws := store.NewWatchStream()
		defer ws.Close()
		ws.Create(ls.Unguarded, ls.WatchRequest{KeyRange: everything})
		nextResponse(t, ws) // it is the only watcher: this makes the writer look
		return store.Revision() == 3
	})
}
