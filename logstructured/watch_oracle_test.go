package logstructured_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ls "github.com/stele-db/stele/logstructured"
)

// TestWatchOracle creates and cancels random watchers on several streams, of which some are rarely read, during random
// requests and compactions. The events of each stream must be those of the oracle.
func TestWatchOracle(t *testing.T) {
	t.Parallel()
	cached := ls.Options{ProgressInterval: 20 * time.Millisecond}
	for name, c := range map[string]struct {
		ls.Options
		slice int
	}{
		"cached":                     {Options: cached},
		"marked in slices of one":    {Options: cached, slice: 1},
		"marked in slices of twenty": {Options: cached, slice: 20},
		"uncached, rows deleted at once": {Options: ls.Options{
			ProgressInterval: 20 * time.Millisecond, ValueCacheBytes: -1, CompactRetention: time.Nanosecond,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rnd := testRand(t)
			store := startStore(t, openSQLite(t, tempDatabase(t)), c.Options)
			if c.slice > 0 {
				store.SetMarkSlice(c.slice)
			}
			gen := &generator{chooser: rnd, leases: []ls.LeaseID{100_000}}
			run := &sequence{oracle: newOracle(), gen: gen, store: store}
			var (
				wg        sync.WaitGroup
				compacted atomic.Int64
				finished  = make(chan struct{})
				streams   []*recordedStream
				// steps take the place of a clock for the streams' readers, because clocks differ between machines.
				steps []chan struct{}
			)
			compacted.Store(-1)
			for range 5 {
				s := recordStream(t, store)
				streams = append(streams, s)
				step := make(chan struct{}, 1)
				steps = append(steps, step)
				own := &generator{chooser: rand.New(rand.NewSource(rnd.Int63()))}
				wg.Go(func() { disturb(s, own, &compacted, step, finished) })
			}
			finish := sync.OnceFunc(func() { close(finished) })
			t.Cleanup(finish) // a stream that is held cannot be closed
			var compactions []int64
			for range scaled(t, 350) {
				run.step(t)
				if run.oracle.compacted != compacted.Load() {
					compacted.Store(run.oracle.compacted)
					compactions = append(compactions, run.oracle.compacted)
				}
				for _, step := range steps {
					step <- struct{}{}
				}
			}
			finish()
			wg.Wait()
			for _, s := range streams { // one that lives: a stream without watchers answers no progress request
				s.create(ls.WatchRequest{KeyRange: everything, ID: 1_000_000}, compacted.Load())
			}
			for range 20 { // beyond every start revision in the future
				run.gen.now = run.oracle.rev()
				op := &ls.PutRequest{Key: run.gen.key(), Value: run.gen.value()}
				want := resultText(run.oracle.apply(op))
				run.match(t, resultText(store.apply(testContext(t), op)), want)
			}
			events, watchers := 0, 0
			for _, s := range streams {
				s.synced(t, run.oracle.rev())
				events += s.verify(t, run.oracle, compactions)
				watchers += len(s.watchers)
			}
			t.Logf("%d events of %d delivered to %d watchers, %d compactions",
				events, len(run.oracle.events), watchers, len(compactions))
			if events < len(run.oracle.events) {
				t.Errorf("so few events prove little")
			}
		})
	}
}

// disturb creates and cancels watchers, asks for progress, and keeps the reader from reading, between steps of the
// writer, until finished.
func disturb(s *recordedStream, gen *generator, compacted *atomic.Int64, step, finished <-chan struct{}) {
	var live []ls.WatchID
	for id := ls.WatchID(1); ; id++ {
		gen.now = int64(s.store.Revision())
		switch n := gen.Intn(10); {
		case n < 5 && len(live) < 12:
			s.create(gen.watchRequest(id), compacted.Load())
			live = append(live, id)
		case n < 7 && len(live) > 0:
			i := gen.Intn(len(live))
			s.cancel(live[i])
			live = append(live[:i], live[i+1:]...)
		case n < 9:
			s.requestProgress()
		default:
			s.hold.Lock()
			await(step, gen.Intn(40), finished)
			s.hold.Unlock()
		}
		if await(step, 1+gen.Intn(6), finished) {
			return
		}
	}
}

// await lets the writer make steps, and tells whether it has finished.
func await(step <-chan struct{}, steps int, finished <-chan struct{}) bool {
	for range steps {
		select {
		case <-finished:
			return true
		case <-step:
		}
	}
	return false
}

func (g *generator) watchRequest(id ls.WatchID) ls.WatchRequest {
	r := ls.WatchRequest{
		KeyRange: g.keyRange(), ID: id, PrevKV: g.chance(50), ProgressNotify: g.chance(30),
		NoPut: g.chance(15), NoDelete: g.chance(15),
	}
	// Another test covers empty ranges, which are refused.
	for len(r.End) > 0 && string(r.End) != "\x00" && string(r.Key) >= string(r.End) {
		r.KeyRange = g.keyRange()
	}
	switch g.Intn(4) {
	case 0:
	case 1:
		r.StartRevision = ls.Revision(g.now + int64(g.Intn(6)))
	case 2:
		r.StartRevision = 1
	default:
		r.StartRevision = ls.Revision(max(1, g.now-int64(g.Intn(100))))
	}
	return r
}

// nextResponse reads one response.
func nextResponse(t testing.TB, ws *ls.WatchStream) *ls.WatchResponse {
	t.Helper()
	r, err := ws.Next(testContext(t))
	if err != nil {
		t.Fatalf("next: %v", err)
	}
	return r
}

func mustRespond(t testing.TB, ws *ls.WatchStream, want string) {
	t.Helper()
	mustMatch(t, "watch response", responseText(nextResponse(t, ws)), want)
}

// TestWatchCreateAndCancel checks the responses of a stream other than events.
func TestWatchCreateAndCancel(t *testing.T) {
	t.Parallel()
	store := startStore(t, openSQLite(t, tempDatabase(t)), ls.Options{})
	for i := range 9 {
		store.mustPut(t, "key", fmt.Sprint(i))
	}
	if _, err := store.Compact(testContext(t), ls.Unguarded, 6, true); err != nil {
		t.Fatal(err)
	}
	ws := store.NewWatchStream()
	defer ws.Close()
	key := ls.KeyRange{Key: []byte("key")}
	created := func(id int) string {
		return fmt.Sprintf("{id=%d rev=10 created=true canceled=false err=<nil> compact=0}", id)
	}
	refused := func(err error) string {
		return fmt.Sprintf("{id=-1 rev=10 created=true canceled=true err=%v compact=0}", err)
	}

	for id := range 2 {
		ws.Create(ls.Unguarded, ls.WatchRequest{KeyRange: key})
		mustRespond(t, ws, created(id))
	}
	ws.Create(ls.Unguarded, ls.WatchRequest{KeyRange: key, ID: 2})
	mustRespond(t, ws, created(2))
	ws.Create(ls.Unguarded, ls.WatchRequest{KeyRange: key}) // skips the ID that is taken
	mustRespond(t, ws, created(3))
	ws.Create(ls.Unguarded, ls.WatchRequest{KeyRange: key, ID: 2})
	mustRespond(t, ws, refused(ls.ErrDuplicateWatchID))
	ws.Create(ls.Unguarded, ls.WatchRequest{KeyRange: ls.KeyRange{Key: []byte("b"), End: []byte("a")}})
	mustRespond(t, ws, refused(ls.ErrEmptyWatchRange))
	ws.Create(ls.Unguarded, ls.WatchRequest{KeyRange: ls.KeyRange{Key: []byte("b"), End: []byte("b")}})
	mustRespond(t, ws, refused(ls.ErrEmptyWatchRange))
	ws.Create(ls.Unguarded, ls.WatchRequest{KeyRange: key, StartRevision: -1})
	mustRespond(t, ws, refused(ls.ErrCompacted))
	ws.Create(ls.Unguarded, ls.WatchRequest{}) // an empty key is the smallest one
	mustRespond(t, ws, created(4))
	ws.Create(ls.Unguarded, ls.WatchRequest{KeyRange: ls.KeyRange{End: []byte{0}}})
	mustRespond(t, ws, created(5))
	ws.Cancel(77) // unknown: no answer
	ws.Cancel(2)
	mustRespond(t, ws, "{id=2 rev=10 created=false canceled=true err=<nil> compact=0}")
	ws.Create(ls.Unguarded, ls.WatchRequest{KeyRange: key, ID: 2}) // free again
	mustRespond(t, ws, created(2))

	ws.Create(ls.Unguarded, ls.WatchRequest{KeyRange: key, ID: 20, StartRevision: 5})
	mustRespond(t, ws, created(20))
	mustRespond(t, ws, "{id=20 rev=0 created=false canceled=true err=<nil> compact=6}")
	ws.Create(ls.Unguarded, ls.WatchRequest{KeyRange: key, ID: 21, StartRevision: 6})
	mustRespond(t, ws, created(21))
	mustRespond(t, ws, "{id=21 rev=10 created=false canceled=false err=<nil> compact=0 PUT@6 PUT@7 PUT@8 PUT@9 PUT@10}")
	ws.Create(ls.Unguarded, ls.WatchRequest{KeyRange: key, ID: 22, StartRevision: 12})
	mustRespond(t, ws, created(22))
	ws.RequestProgress()
	for _, id := range []ls.WatchID{0, 1, 2, 3, 5, 21} {
		ws.Cancel(id)
		for r := nextResponse(t, ws); r.WatchID != id; r = nextResponse(t, ws) {
			if r.WatchID != ls.InvalidWatchID || len(r.Events) > 0 || r.Revision != 10 {
				t.Fatalf("unexpected %s", responseText(r))
			}
		}
	}
	store.mustPut(t, "key", "11")
	store.mustPut(t, "key", "12")
	for r := nextResponse(t, ws); ; r = nextResponse(t, ws) {
		if r.WatchID == ls.InvalidWatchID {
			continue // the progress requested above, if it waited for watcher 22
		}
		mustMatch(t, "a start in the future", responseText(r),
			"{id=22 rev=12 created=false canceled=false err=<nil> compact=0 PUT@12}")
		break
	}
}

// TestNextReturnsAtTheEnd ends Next by its context, the close of the stream, and the stop of the store.
func TestNextReturnsAtTheEnd(t *testing.T) {
	t.Parallel()
	store := startStore(t, openSQLite(t, tempDatabase(t)), ls.Options{})
	ws := store.NewWatchStream()
	ctx, cancel := context.WithCancel(t.Context())
	next := func(ws *ls.WatchStream, ctx context.Context) chan error {
		c := make(chan error, 1)
		go func() { _, err := ws.Next(ctx); c <- err }()
		return c
	}
	mustEnd := func(c chan error, want error) {
		t.Helper()
		select {
		case err := <-c:
			if !errors.Is(err, want) {
				t.Fatalf("%v, want %v", err, want)
			}
		case <-time.After(patience):
			t.Fatal("Next does not return")
		}
	}
	c := next(ws, ctx)
	cancel()
	mustEnd(c, context.Canceled)
	c = next(ws, t.Context())
	ws.Close()
	mustEnd(c, ls.ErrStopped)
	ws.Close() // again, harmlessly
	mustEnd(next(ws, t.Context()), ls.ErrStopped)

	ws = store.NewWatchStream()
	defer ws.Close()
	ws.Create(ls.Unguarded, ls.WatchRequest{KeyRange: everything})
	nextResponse(t, ws)
	c = next(ws, t.Context())
	store.stop(t)
	mustEnd(c, ls.ErrStopped)
	mustEnd(next(ws, t.Context()), ls.ErrStopped)
}

// TestWatchFromTheCompactRevision starts at the compact revision itself, which is allowed and was a delete. Its
// tombstone must outlive the compaction, also in a store that is reopened.
func TestWatchFromTheCompactRevision(t *testing.T) {
	t.Parallel()
	path := tempDatabase(t)
	opts := ls.Options{CompactRetention: time.Nanosecond}
	store := startStore(t, openSQLite(t, path), opts)
	store.mustPut(t, "key", "value")
	if _, err := store.DeleteRange(testContext(t), ls.Unguarded,
		&ls.DeleteRangeRequest{KeyRange: ls.KeyRange{Key: []byte("key")}}); err != nil {
		t.Fatal(err)
	}
	store.mustPut(t, "other", "value")
	if _, err := store.Compact(testContext(t), ls.Unguarded, 3, true); err != nil {
		t.Fatal(err)
	}
	store.stop(t)
	ws := startStore(t, openSQLite(t, path), opts).NewWatchStream()
	defer ws.Close()
	ws.Create(ls.Unguarded, ls.WatchRequest{KeyRange: everything, StartRevision: 3})
	mustRespond(t, ws, "{id=0 rev=4 created=true canceled=false err=<nil> compact=0}")
	mustRespond(t, ws, "{id=0 rev=4 created=false canceled=false err=<nil> compact=0 DELETE@3 PUT@4}")
}
