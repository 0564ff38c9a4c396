package logstructured_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/memory"
	ls "github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
)

// lookAway makes a replica see nothing of the database until it heals.
var lookAway = failing(errDatabase)

// watchEverything returns a stream with one watcher, which has been created.
func watchEverything(t *testing.T, r *replica, from ls.Revision) *ls.WatchStream {
	t.Helper()
	ws := r.NewWatchStream()
	t.Cleanup(ws.Close)
	ws.Create(ls.Unguarded, ls.WatchRequest{KeyRange: everything, StartRevision: from})
	if response, err := ws.Next(testContext(t)); err != nil || !response.Created {
		t.Fatalf("create a watcher: %+v, %v", response, err)
	}
	return ws
}

// untilCompacted reads a stream until its watcher is canceled and returns the compact revision.
func untilCompacted(t *testing.T, ws *ls.WatchStream) ls.Revision {
	t.Helper()
	for {
		response, err := ws.Next(testContext(t))
		if err != nil {
			t.Fatalf("a watcher of the lost history was not canceled: %v", err)
		}
		if response.Canceled {
			return response.CompactRevision
		}
	}
}

// TestRecoveryOfReplicasAtDifferentHeads restores a backup under two replicas that have applied different heads. A
// third replica passes both heads before either of them polls.
func TestRecoveryOfReplicasAtDifferentHeads(t *testing.T) {
	t.Parallel()
	db := new(memory.Database)
	opts := ls.Options{ValueCacheBytes: -1, PollInterval: time.Millisecond}
	logs := []*faultyLog{newFaultyLog(db.Open()), newFaultyLog(db.Open())}
	a, b := startStore(t, logs[0], opts), startStore(t, logs[1], opts)
	for i := range 10 {
		a.mustPut(t, fmt.Sprint("kept-", i), "kept")
	}
	saved := db.Content()
	for i := range 20 {
		a.mustPut(t, fmt.Sprint("lost-", i), "lost")
	}
	eventually(t, "b has applied all", func() bool { return b.Revision() == a.Revision() })
	watches := []*ls.WatchStream{watchEverything(t, b, 0)}
	logs[1].fail(lookAway)
	for i := range 20 {
		a.mustPut(t, fmt.Sprint("lost too-", i), "lost")
	}
	served := a.Revision()
	watches = append(watches, watchEverything(t, a, 0), watchEverything(t, a, served+5))
	logs[0].fail(lookAway)

	db.SetContent(saved)
	c := startStore(t, db.Open(), opts)
	if c.Revision() >= served || c.Term() != 1 {
		t.Fatalf("after the restore the revision is %d and the term %d", c.Revision(), c.Term())
	}
	watches = append(watches, watchEverything(t, c, 0))
	for i := range 100 {
		c.mustPut(t, fmt.Sprint("new-", i), "new")
	}
	if c.Revision() <= served {
		t.Fatal("the writer did not pass the served revision")
	}
	logs[0].heal()
	logs[1].heal()

	replicas := []*replica{a, b, c}
	for i, ws := range watches {
		if compacted := untilCompacted(t, ws); compacted <= served+1000 {
			t.Errorf("watch %d is canceled with compact revision %d, after revision %d was served",
				i, compacted, served)
		}
	}
	revision := a.mustPut(t, "after", "all")
	for i, r := range replicas {
		res, err := r.Range(testContext(t), ls.Unguarded, &ls.RangeRequest{KeyRange: everything})
		if err != nil {
			t.Fatal(err)
		}
		if res.Revision != revision || len(res.KVs) != 10+100+1 || r.Term() < 2 {
			t.Errorf("replica %d: revision %d, %d keys, term %d; want %d, 111, more than 1",
				i, res.Revision, len(res.KVs), r.Term(), revision)
		}
		for _, kv := range res.KVs {
			if string(kv.Value) == "lost" {
				t.Errorf("replica %d still has %q", i, kv.Key)
			}
		}
		for _, old := range []ls.Revision{2, served - 30, served, served + 1, served + 60} {
			if _, err := r.Range(testContext(t), ls.Unguarded,
				&ls.RangeRequest{KeyRange: everything, Revision: old}); !errors.Is(err, ls.ErrCompacted) {
				t.Errorf("replica %d: range at revision %d: %v, want that it is compacted", i, old, err)
			}
		}
	}
	// The log holds the term, so a replica that starts now has it too.
	if d := startStore(t, db.Open(), opts); d.Term() != a.Term() || d.Revision() != revision {
		t.Errorf("a new replica: term %d and revision %d, want %d and %d", d.Term(), d.Revision(), a.Term(), revision)
	}
	// And it outlives compactions, each of which removes the entry of the one before.
	for range 3 {
		if _, err := a.Compact(testContext(t), ls.Unguarded, a.mustPut(t, "k", "v"), true); err != nil {
			t.Fatal(err)
		}
	}
	if d := startStore(t, db.Open(), opts); d.Term() != a.Term() {
		t.Errorf("after compactions a new replica has term %d, want %d", d.Term(), a.Term())
	}
}

// TestRecoveryAtTheSamePosition restores a backup and appends as many entries as were lost. The position of the head is
// the same, but its append ID differs.
func TestRecoveryAtTheSamePosition(t *testing.T) {
	t.Parallel()
	db := new(memory.Database)
	opts := ls.Options{ValueCacheBytes: -1}
	l := newFaultyLog(db.Open())
	a := startStore(t, l, opts)
	a.mustPut(t, "k", "before")
	saved := db.Content()
	a.mustPut(t, "k", "lost")
	l.fail(lookAway)
	db.SetContent(saved)
	c := startStore(t, db.Open(), opts)
	c.mustPut(t, "k", "found")
	c.stop(t)

	// What it reads from the database by position is another row's value now: that must not come out.
	l.fail(faults{read: lookAway.read, end: lookAway.end, append: lookAway.append})
	res, err := a.Range(testContext(t), ls.Unguarded,
		&ls.RangeRequest{KeyRange: ls.KeyRange{Key: []byte("k")}, Serializable: true})
	if err == nil {
		t.Errorf("a serializable read of a row that is lost returns %s", kvsText(res.KVs))
	}
	l.heal()
	eventually(t, "the recovery is noticed", func() bool { return a.Term() == 2 })
	res, err = a.Range(testContext(t), ls.Unguarded, &ls.RangeRequest{KeyRange: ls.KeyRange{Key: []byte("k")}})
	if err != nil || string(res.KVs[0].Value) != "found" {
		t.Errorf("after the recovery: %v, %v", res, err)
	}
}

// TestRecoveryDropsPendingDeletions restores a backup while deletions of the lost history are pending. They must not
// delete the rows that are now at their positions.
func TestRecoveryDropsPendingDeletions(t *testing.T) {
	t.Parallel()
	db := new(memory.Database)
	opts := ls.Options{CompactRetention: 50 * time.Millisecond}
	l := newFaultyLog(db.Open())
	a := startStore(t, l, opts)
	a.mustPut(t, "first", "kept")
	saved := db.Content()
	for range 50 {
		a.mustPut(t, "k", "lost")
	}
	l.fail(faults{remove: func(context.Context) error { return errDatabase }})
	if _, err := a.Compact(testContext(t), ls.Unguarded, a.Revision(), false); err != nil {
		t.Fatal(err)
	}
	l.fail(lookAway)
	db.SetContent(saved)
	c := startStore(t, db.Open(), opts)
	for i := range 80 {
		c.mustPut(t, fmt.Sprint("new-", i), "new")
	}
	// The deletions are tried before anything else is.
	var removals atomic.Int64
	remove := func(context.Context) error { removals.Add(1); return nil }
	l.fail(faults{read: lookAway.read, end: lookAway.end, append: lookAway.append, remove: remove})
	eventually(t, "deletions are tried", func() bool { return removals.Load() > 2 })
	l.heal()
	eventually(t, "the recovery is noticed", func() bool { return a.Term() == 2 })
	if res, err := startStore(t, db.Open(), opts).Range(testContext(t), ls.Unguarded,
		&ls.RangeRequest{KeyRange: everything}); err != nil || len(res.KVs) != 81 {
		t.Errorf("%d keys are left, %v; want 81", len(res.KVs), err)
	}
}

// TestRecoveryBehindTheFloor stops a replica until its newest applied entry is deleted. The revision jumps only if the
// remaining rows belong to another history.
func TestRecoveryBehindTheFloor(t *testing.T) {
	t.Parallel()
	for _, restored := range []bool{false, true} {
		t.Run(fmt.Sprint("restored=", restored), func(t *testing.T) {
			t.Parallel()
			db := new(memory.Database)
			opts := ls.Options{CompactRetention: time.Nanosecond}
			l := newFaultyLog(db.Open())
			a := startStore(t, l, opts)
			a.mustPut(t, "stays", "kept")
			saved := db.Content()
			a.mustPut(t, "other", "x")
			a.mustPut(t, "k", "0")
			l.fail(lookAway)
			if restored {
				db.SetContent(saved)
			}
			c := startStore(t, db.Open(), opts)
			c.mustPut(t, "another", "y")
			for i := range 10 {
				c.mustPut(t, "k", fmt.Sprint(i))
			}
			if _, err := c.Compact(testContext(t), ls.Unguarded, c.Revision(), true); err != nil {
				t.Fatal(err)
			}
			l.heal()
			eventually(t, "it has caught up", func() bool { return a.Revision() == c.Revision() })
			if want := map[bool]uint64{false: 1, true: 2}[restored]; a.Term() != want {
				t.Errorf("the term is %d, want %d", a.Term(), want)
			}
		})
	}
}

// TestUnknownOutcomeIsConfirmed acknowledges a write that was found in the log only after it is known to be durable.
func TestUnknownOutcomeIsConfirmed(t *testing.T) {
	t.Parallel()
	l := newFaultyLog(openSQLite(t, tempDatabase(t)))
	store := startStore(t, l, ls.Options{})
	var refusals atomic.Int64
	confirmed := make(chan struct{})
	l.fail(faults{
		append: func(ctx context.Context, a *realAppend) error { return errors.Join(a.now(ctx), log.ErrUnknown) },
		confirm: func(context.Context) error {
			select {
			case <-confirmed:
				return nil
			default:
				refusals.Add(1)
				return errDatabase
			}
		},
	})
	acknowledged := make(chan error, 1)
	go func() {
		_, err := store.Put(testContext(t), ls.Unguarded, &ls.PutRequest{Key: []byte("k")})
		acknowledged <- err
	}()
	eventually(t, "Confirm is called", func() bool { return refusals.Load() > 2 })
	select {
	case err := <-acknowledged:
		t.Fatalf("acknowledged (%v) before it was confirmed", err)
	default:
	}
	close(confirmed)
	if err := <-acknowledged; err != nil {
		t.Error(err)
	}
	if n := l.appended.Load(); n != 1 {
		t.Errorf("%d appends, want 1", n)
	}
}

// TestUnknownKindStopsAppends opens a log with an entry of a kind that only a later version knows.
func TestUnknownKindStopsAppends(t *testing.T) {
	t.Parallel()
	db := new(memory.Database)
	store := startStore(t, db.Open(), ls.Options{RequestTimeout: time.Second})
	store.mustPut(t, "k", "v")
	end, err := db.Open().End(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Open().Append(testContext(t), end.Head, 99, []log.Entry{{Kind: 200, Revision: 3}}); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Put(testContext(t), ls.Unguarded,
		&ls.PutRequest{Key: []byte("k")}); !errors.Is(err, ls.ErrUnavailable) {
		t.Errorf("a write after it: %v, want that it is unavailable", err)
	}
	if _, err := store.Range(testContext(t), ls.Unguarded, &ls.RangeRequest{KeyRange: everything}); err == nil {
		t.Error("a linearizable read after it succeeds")
	}
	if _, err := store.Range(testContext(t), ls.Unguarded,
		&ls.RangeRequest{KeyRange: everything, Serializable: true}); err != nil {
		t.Errorf("a serializable read: %v", err)
	}
	if _, err := ls.Open(testContext(t), db.Open(), ls.Options{Logger: testLogger(t)}); err == nil {
		t.Error("a store opens on a log that it does not understand")
	}
}

// TestTTLAcrossClockJumps sets the clock of the database an hour ahead and two hours back. Keys keep their TTLs.
func TestTTLAcrossClockJumps(t *testing.T) {
	t.Parallel()
	db := new(memory.Database)
	store := startStore(t, db.Open(), ls.Options{PollInterval: time.Millisecond})
	ttl := 3 * time.Second
	started := time.Now()
	for i, ahead := range []time.Duration{time.Hour, -time.Hour, 0} {
		if _, err := store.Put(testContext(t), ls.Unguarded,
			&ls.PutRequest{Key: fmt.Append(nil, i), Lease: ls.LeaseID(ttl / time.Second)}); err != nil {
			t.Fatal(err)
		}
		db.SetClock(ahead)
	}
	acked := time.Now()
	count := func() int64 {
		res, err := store.Range(testContext(t), ls.Unguarded, &ls.RangeRequest{KeyRange: everything, CountOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		return res.Count
	}
	eventually(t, "all have expired", func() bool {
		n := count()
		if n < 3 && time.Since(started) < ttl-10*time.Millisecond {
			t.Fatalf("a key expired after %v", time.Since(started))
		}
		return n == 0
	})
	if late := time.Since(acked) - ttl; late > 2*time.Second {
		t.Errorf("expired %v late", late)
	}
}

// TestUnknownOutcomeBehindTheFloor loses the outcome of an append of the sweeper, and deletes its entries before the
// outcome can be found.
func TestUnknownOutcomeBehindTheFloor(t *testing.T) {
	t.Parallel()
	db := new(memory.Database)
	opts := ls.Options{CompactRetention: time.Nanosecond, PollInterval: time.Millisecond, RequestTimeout: patience}
	l := newFaultyLog(db.Open())
	a := startStore(t, l, opts)
	if _, err := a.Put(testContext(t), ls.Unguarded, &ls.PutRequest{Key: []byte("k"), Lease: 2}); err != nil {
		t.Fatal(err)
	}
	var swept atomic.Bool
	l.fail(faults{append: func(context.Context, *realAppend) error {
		swept.Store(true)
		l.fail(lookAway)
		return log.ErrUnknown
	}})
	eventually(t, "the sweeper appends", swept.Load)
	c := startStore(t, db.Open(), opts)
	for i := range 10 {
		c.mustPut(t, "other", fmt.Sprint(i))
	}
	eventually(t, "the key expires elsewhere", func() bool {
		res, err := c.Range(testContext(t), ls.Unguarded, &ls.RangeRequest{KeyRange: everything})
		return err == nil && len(res.KVs) == 1
	})
	c.mustPut(t, "other", "last")
	if _, err := c.Compact(testContext(t), ls.Unguarded, c.Revision(), true); err != nil {
		t.Fatal(err)
	}
	l.heal()
	eventually(t, "it has caught up", func() bool { return a.Revision() == c.Revision() })
	if a.Term() != 1 {
		t.Errorf("the term is %d", a.Term())
	}
}
