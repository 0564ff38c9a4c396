package logstructured_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/stele-db/stele/drivers/memory"
	ls "github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
)

// notWritten tells whether an error promises that its write has not taken effect and never will.
func notWritten(err error) bool {
	if errors.Is(err, log.ErrUnknown) || errors.Is(err, ls.ErrTimeout) || errors.Is(err, ls.ErrStopped) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return false
	}
	return true
}

// TestFaultUnknownOutcomes fails appends in every way before and after they reach the database. The store must find the
// outcome: the client gets one definite answer, and the key is written as often as the answers say.
func TestFaultUnknownOutcomes(t *testing.T) {
	t.Parallel()
	var failOnce = func(then func(context.Context, *realAppend) error) faults {
		var failed atomic.Bool
		return faults{append: func(ctx context.Context, a *realAppend) error {
			if failed.CompareAndSwap(false, true) {
				return then(ctx, a)
			}
			return a.now(ctx)
		}}
	}
	for name, f := range map[string]faults{
		"written, answer lost": failOnce(func(ctx context.Context, a *realAppend) error {
			return errors.Join(a.now(ctx), log.ErrUnknown)
		}),
		"never written": failOnce(func(context.Context, *realAppend) error { return log.ErrUnknown }),
		"written later": failOnce(func(_ context.Context, a *realAppend) error {
			a.later(50 * time.Millisecond)
			return log.ErrUnknown
		}),
		"written at once and later again": failOnce(func(ctx context.Context, a *realAppend) error {
			a.later(20 * time.Millisecond)
			return errors.Join(a.now(ctx), log.ErrUnknown)
		}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newFaultyLog(openSQLite(t, tempDatabase(t)))
			store := startStore(t, l, ls.Options{RequestTimeout: patience})
			o := newOracle()
			for i := range 5 {
				l.fail(f)
				op := &ls.TxnRequest{
					Compares: []ls.Compare{{
						KeyRange: ls.KeyRange{Key: []byte("key")}, Target: ls.CompareVersion, Number: int64(i),
					}},
					Success: []ls.Op{&ls.PutRequest{Key: []byte("key"), Value: fmt.Append(nil, i), PrevKV: true}},
				}
				want := resultText(o.apply(op))
				got := resultText(store.apply(testContext(t), op))
				mustMatch(t, "a compare-and-put with unknown outcome", got, want)
			}
			l.late.Wait()
			compareHistory(t, o, store)
		})
	}
}

// TestUnknownOutcomeAfterConflictIsFailure appends from another store while the outcome of an append is unknown. That
// append has then failed, and its request is evaluated again.
func TestUnknownOutcomeAfterConflictIsFailure(t *testing.T) {
	t.Parallel()
	path := tempDatabase(t)
	other := startStore(t, openSQLite(t, path), ls.Options{})
	l := newFaultyLog(openSQLite(t, path))
	store := startStore(t, l, ls.Options{RequestTimeout: patience})
	store.mustPut(t, "key", "first")
	var once sync.Once
	l.fail(faults{append: func(ctx context.Context, a *realAppend) (err error) {
		err = log.ErrUnknown
		once.Do(func() {
			other.mustPut(t, "key", "second")
			a.later(10 * time.Millisecond) // lands on a log that has moved on
			l.heal()
		})
		return err
	}})
	res, err := store.Txn(testContext(t), ls.Unguarded, &ls.TxnRequest{
		Compares: []ls.Compare{{
			KeyRange: ls.KeyRange{Key: []byte("key")}, Target: ls.CompareValue, Value: []byte("first"),
		}},
		Success: []ls.Op{&ls.PutRequest{Key: []byte("key"), Value: []byte("third")}},
		Failure: []ls.Op{&ls.RangeRequest{KeyRange: ls.KeyRange{Key: []byte("key")}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `Txn{rev=3 succeeded=false Range{rev=3 more=false count=1 ` +
		`("key"="second" create=2 mod=3 version=2 lease=0)}}`
	mustMatch(t, "a transaction overtaken by another replica", resultText(res, nil), want)
}

// TestFaultsUnderLoad fails calls at random while clients increment keys by compare-and-put. Afterwards the log must
// hold each acknowledged write once, at the revision of its answer, no write that was reported as failed, and no write
// twice.
func TestFaultsUnderLoad(t *testing.T) {
	t.Parallel()
	rnd := testRand(t)
	path := tempDatabase(t)
	l := newFaultyLog(openSQLite(t, path))
	store := startStore(t, l, ls.Options{RequestTimeout: patience})
	stream := recordStream(t, store)
	stream.create(ls.WatchRequest{KeyRange: everything, ID: 1, StartRevision: 1}, -1)

	dice := &lockedDice{rnd: rand.New(rand.NewSource(rnd.Int63()))}
	sometimes := func(percent int, errs ...error) func(context.Context) error {
		return func(context.Context) error {
			if dice.Intn(100) < percent {
				return errs[dice.Intn(len(errs))]
			}
			return nil
		}
	}
	const kinds = 12
	var appends atomic.Int64
	l.fail(faults{
		end: sometimes(5, errDatabase), read: sometimes(20, errDatabase), values: sometimes(20, errDatabase),
		append: func(ctx context.Context, a *realAppend) error {
			outcome := int(appends.Add(1) - 1) // each once, whatever the dice say
			if outcome >= kinds {
				outcome = dice.Intn(kinds)
			}
			switch outcome {
			case 0:
				return errDatabase
			case 1:
				return fmt.Errorf("disk full: %w", log.ErrNoSpace)
			case 2:
				return log.ErrUnknown
			case 3:
				return errors.Join(a.now(ctx), log.ErrUnknown)
			case 4:
				a.later(time.Duration(dice.Intn(20)) * time.Millisecond)
				return log.ErrUnknown
			case 5:
				elapse(time.Duration(dice.Intn(10)) * time.Millisecond)
			}
			return a.now(ctx)
		},
	})

	type write struct {
		value    string
		revision ls.Revision
		err      error
	}
	const clients = 12
	writes := make([][]write, clients)
	var wg sync.WaitGroup
	for i := range clients {
		gen := &generator{chooser: rand.New(rand.NewSource(rnd.Int63()))}
		wg.Go(func() {
			for n := range scaled(t, 40) {
				ctx := testContext(t)
				cancel := context.CancelFunc(func() {})
				if gen.chance(15) { // some clients have little patience
					ctx, cancel = context.WithTimeout(ctx, time.Duration(gen.Intn(15))*time.Millisecond)
				}
				w := write{value: fmt.Sprintf("%d-%d", i, n)}
				res, err := store.Put(ctx, ls.Unguarded,
					&ls.PutRequest{Key: fmt.Append(nil, "key-", i%4), Value: []byte(w.value)})
				cancel()
				if w.err = err; err == nil {
					w.revision = res.Revision
				}
				writes[i] = append(writes[i], w)
			}
		})
	}
	wg.Wait()
	l.heal()
	l.late.Wait()
	// A last write brings the store up to the head of the log.
	last := store.mustPut(t, "last", "")
	stream.synced(t, int64(last))

	written := map[string]ls.Revision{}
	previous := int64(1)
	for _, r := range stream.recorded() {
		for _, ev := range r.Events {
			if _, twice := written[string(ev.Kv.Value)]; twice {
				t.Fatalf("%q was written twice", ev.Kv.Value)
			}
			written[string(ev.Kv.Value)] = ls.Revision(ev.Kv.ModRevision)
			if ev.Type != mvccpb.Event_PUT || ev.Kv.ModRevision != previous+1 {
				t.Fatalf("event %s at %d follows revision %d", ev.Type, ev.Kv.ModRevision, previous)
			}
			previous++
		}
	}
	outcomes := map[string]int{}
	for _, w := range writes {
		for _, w := range w {
			rev, there := written[w.value]
			switch {
			case w.err == nil && rev != w.revision:
				t.Errorf("%q was acknowledged at revision %d and is at %d", w.value, w.revision, rev)
			case w.err != nil && notWritten(w.err) && there:
				t.Errorf("%q is in the log, but its client got: %v", w.value, w.err)
			}
			outcome := "acknowledged"
			if w.err != nil {
				outcome = sentinelOf(w.err).Error()
			}
			outcomes[outcome]++
		}
	}
	t.Logf("%d written, outcomes %v", len(written), outcomes)
	if outcomes["acknowledged"] < clients || outcomes[log.ErrNoSpace.Error()] == 0 {
		t.Errorf("the test did not reach its purpose")
	}

	// What a fresh store reads is the same again.
	store.stop(t)
	reopened := startStore(t, openSQLite(t, path), ls.Options{})
	again := recordStream(t, reopened)
	again.create(ls.WatchRequest{KeyRange: everything, ID: 1, StartRevision: 1}, -1)
	again.synced(t, int64(last))
	n := 0
	for _, r := range again.recorded() {
		n += len(r.Events)
	}
	if n != len(written) {
		t.Errorf("%d events before, %d after reopening", len(written), n)
	}
}

// lockedDice is a source of choices for several goroutines.
type lockedDice struct {
	mu  sync.Mutex
	rnd *rand.Rand
}

func (d *lockedDice) Intn(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rnd.Intn(n)
}

// TestSerializableReadsContinueInOutage makes the database unreachable. Requests that need it fail with a clear error,
// and the others succeed. All succeed once it is reachable again.
func TestSerializableReadsContinueInOutage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		fault error
		// write is how a write fails.
		write error
	}{
		{"unreachable", errDatabase, ls.ErrUnavailable},
		{"full", fmt.Errorf("no room: %w", log.ErrNoSpace), log.ErrNoSpace},
		{"read-only", fmt.Errorf("standby: %w", log.ErrReadOnly), log.ErrReadOnly},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newFaultyLog(openSQLite(t, tempDatabase(t)))
			store := startStore(t, l, ls.Options{RequestTimeout: 300 * time.Millisecond})
			store.mustPut(t, "key", "1")
			store.mustPut(t, "key", "2")
			stream := recordStream(t, store)
			stream.create(ls.WatchRequest{KeyRange: everything, ID: 1}, -1)

			l.failAll(c.fault)
			ctx := testContext(t)
			_, err := store.Put(ctx, ls.Unguarded, &ls.PutRequest{Key: []byte("key"), Value: []byte("3")})
			if !errors.Is(err, c.write) {
				t.Errorf("put: %v, want %v", err, c.write)
			}
			for _, r := range []*ls.RangeRequest{{KeyRange: everything}, {KeyRange: everything, Revision: 2}} {
				_, err = store.Range(ctx, ls.Unguarded, r)
				if err == nil {
					t.Errorf("a linearizable read succeeded without the database: %s", requestText(r))
				} else if !isAny(err, ls.ErrUnavailable, ls.ErrTimeout, c.write) {
					t.Errorf("a linearizable read: %v", err)
				}
			}
			if store.Ready(ctx) == nil {
				t.Errorf("ready without the database")
			}
			for _, r := range []*ls.RangeRequest{
				{KeyRange: everything, Serializable: true},
				{KeyRange: everything, Revision: 3, Serializable: true},
				{KeyRange: everything, Revision: 2, Serializable: true},
			} {
				if res, err := store.Range(ctx, ls.Unguarded, r); err != nil || res.Count != 1 {
					t.Errorf("%s: %v, %v", requestText(r), res, err)
				}
			}

			l.heal()
			eventually(t, "writes succeed again", func() bool {
				_, err = store.Put(ctx, ls.Unguarded, &ls.PutRequest{Key: []byte("key"), Value: []byte("3")})
				return err == nil
			})
			res, err := store.Range(ctx, ls.Unguarded, &ls.RangeRequest{KeyRange: everything})
			if err != nil || res.KVs[0].Version != 3 || res.Revision != 4 {
				t.Errorf("after the database is back: %s", resultText(res, err))
			}
			stream.synced(t, 4)
		})
	}
}

// TestRequestsEndWhileDatabaseHangs blocks every call to the database. Requests end by the timeout of the store or of
// their client.
func TestRequestsEndWhileDatabaseHangs(t *testing.T) {
	t.Parallel()
	l := newFaultyLog(openSQLite(t, tempDatabase(t)))
	store := startStore(t, l, ls.Options{RequestTimeout: 200 * time.Millisecond})
	store.mustPut(t, "key", "1")
	hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	l.fail(faults{end: hang, read: hang, values: hang, append: func(ctx context.Context, _ *realAppend) error {
		<-ctx.Done()
		return fmt.Errorf("%w: %w", log.ErrUnknown, ctx.Err())
	}})
	begin := time.Now()
	for i := range 3 {
		// The limit of the append is the request's own: either may be noticed first.
		if _, err := store.Put(t.Context(), ls.Unguarded,
			&ls.PutRequest{Key: []byte("key")}); !errors.Is(err, ls.ErrTimeout) && !errors.Is(err, log.ErrUnknown) {
			t.Errorf("put: %v", err)
		}
		if _, err := store.Range(t.Context(), ls.Unguarded,
			&ls.RangeRequest{KeyRange: everything}); !errors.Is(err, ls.ErrTimeout) {
			t.Errorf("range: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err := store.Put(ctx, ls.Unguarded, &ls.PutRequest{Key: fmt.Append(nil, i)})
		if !isAny(err, context.DeadlineExceeded, ls.ErrTimeout, log.ErrUnknown) {
			t.Errorf("put with a deadline: %v", err)
		}
		cancel()
	}
	if took := time.Since(begin); took > patience/2 {
		t.Errorf("nine requests of at most 200 ms took %v", took)
	}
	l.heal()
	eventually(t, "writes succeed again", func() bool {
		_, err := store.Put(t.Context(), ls.Unguarded, &ls.PutRequest{Key: []byte("key"), Value: []byte("2")})
		return err == nil
	})
}

// TestShutdownUnderLoad stops a store under load, with a database that answers late. Every waiter gets an error, the
// log is closed, and no goroutine is left.
func TestShutdownUnderLoad(t *testing.T) { // not parallel: it counts goroutines
	before := runtime.NumGoroutine()
	path := tempDatabase(t)
	l := newFaultyLog(openSQLite(t, path))
	store := startStore(t, l, ls.Options{})
	slow := func(context.Context) error { elapse(3 * time.Millisecond); return nil }
	l.fail(faults{end: slow, read: slow, append: func(ctx context.Context, a *realAppend) error {
		_ = slow(ctx)
		return a.now(ctx)
	}})
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		acked = map[string]bool{}
	)
	ended := func(what string, err error) {
		if !errors.Is(err, ls.ErrStopped) {
			t.Errorf("%s ended with %v", what, err)
		}
	}
	for i := range 16 {
		wg.Go(func() {
			for n := 0; ; n++ {
				key := fmt.Sprintf("%d-%d", i, n)
				if _, err := store.Put(t.Context(), ls.Unguarded, &ls.PutRequest{Key: []byte(key)}); err != nil {
					ended("put", err)
					return
				}
				mu.Lock()
				acked[key] = true
				mu.Unlock()
			}
		})
		wg.Go(func() {
			for {
				if _, err := store.Range(t.Context(), ls.Unguarded,
					&ls.RangeRequest{KeyRange: everything, CountOnly: true}); err != nil {
					ended("range", err)
					return
				}
			}
		})
		wg.Go(func() {
			ws := store.NewWatchStream()
			defer ws.Close()
			ws.Create(ls.Unguarded, ls.WatchRequest{KeyRange: everything})
			for {
				if _, err := ws.Next(t.Context()); err != nil {
					ended("watch", err)
					return
				}
			}
		})
	}
	eventually(t, "writes are under way", func() bool { mu.Lock(); defer mu.Unlock(); return len(acked) > 200 })
	store.stop(t)
	wg.Wait()
	if _, err := store.Put(t.Context(), ls.Unguarded,
		&ls.PutRequest{Key: []byte("late")}); !errors.Is(err, ls.ErrStopped) {
		t.Errorf("put after Run has returned: %v", err)
	}
	if _, err := store.Range(t.Context(), ls.Unguarded,
		&ls.RangeRequest{KeyRange: everything}); !errors.Is(err, ls.ErrStopped) {
		t.Errorf("range after Run has returned: %v", err)
	}
	eventually(t, fmt.Sprintf("no more goroutines run than the %d before", before), func() bool {
		return runtime.NumGoroutine() <= before
	})

	reopened := startStore(t, openSQLite(t, path), ls.Options{})
	res, err := reopened.Range(testContext(t), ls.Unguarded, &ls.RangeRequest{KeyRange: everything, KeysOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range res.KVs {
		delete(acked, string(kv.Key))
	}
	if len(acked) > 0 {
		t.Errorf("%d acknowledged writes are lost", len(acked))
	}
}

// TestLargeAppendAmongConflicts lets another replica win every race against a large append. Small requests overtake it,
// and it succeeds with the first turn of this replica.
func TestLargeAppendAmongConflicts(t *testing.T) {
	db := new(memory.Database)
	other := startStore(t, db.Open(), ls.Options{})
	l := newFaultyLog(db.Open())
	store := startStore(t, l, ls.Options{})
	ctx := testContext(t)
	put := func(r *replica, key string, size int) error {
		_, err := r.Put(ctx, ls.Unguarded, &ls.PutRequest{Key: []byte(key), Value: bytes.Repeat([]byte("v"), size)})
		return err
	}
	var conflicts atomic.Int64
	l.fail(faults{append: func(ctx context.Context, a *realAppend) error {
		size := 0
		for i := range a.entries {
			size += len(a.entries[i].Value)
		}
		if size > 512<<10 {
			conflicts.Add(1)
			if err := put(other, "other", 1); err != nil {
				return err
			}
		}
		return a.now(ctx)
	}})
	large := make(chan error, 1)
	go func() { large <- put(store, "large", 1<<20) }()
	eventually(t, "the large append conflicts", func() bool { return conflicts.Load() > 0 })
	for n := range 100 {
		if err := put(store, fmt.Sprint("small", n), 1024); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-large:
		t.Fatalf("the large append succeeded: %v", err)
	default:
	}
	l.heal()
	if err := <-large; err != nil {
		t.Error(err)
	}
}
