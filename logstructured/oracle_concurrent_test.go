package logstructured_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ls "github.com/stele-db/stele/logstructured"
)

// call is a request that ran while others did, with what bounds its place in their order.
type call struct {
	op  ls.Op
	res ls.OpResult
	err error
	// before is a revision that was acknowledged before the request was sent, after the current one once it was
	// answered.
	before, after int64
}

// revision is the place that the answer claims in the order of all.
func (c *call) revision() int64 {
	switch r := c.res.(type) {
	case *ls.RangeResult:
		return int64(r.Revision)
	case *ls.PutResult:
		return int64(r.Revision)
	case *ls.DeleteRangeResult:
		return int64(r.Revision)
	case *ls.TxnResult:
		return int64(r.Revision)
	}
	return 0
}

// wrote tells from an answer whether its request changed something.
func wrote(res ls.OpResult) bool {
	switch r := res.(type) {
	case *ls.PutResult:
		return true
	case *ls.DeleteRangeResult:
		return r.Deleted > 0
	case *ls.TxnResult:
		return slices.ContainsFunc(r.Results, wrote)
	}
	return false
}

// acknowledged is the highest revision that any client has seen.
type acknowledged struct{ atomic.Int64 }

func (a *acknowledged) saw(rev int64) {
	for {
		seen := a.Load()
		if rev <= seen || a.CompareAndSwap(seen, rev) {
			return
		}
	}
}

// callAll sends random requests from many goroutines, each to one of the stores, and returns all of them. Some fail
// whatever the generator's luck.
func callAll(t *testing.T, rnd *rand.Rand, stores []*replica, clients, requests int, start int64) []*call {
	var (
		seen  acknowledged
		calls = make([][]*call, clients)
		wg    sync.WaitGroup
	)
	seen.saw(start)
	for i := range clients {
		gen := &generator{chooser: rand.New(rand.NewSource(rnd.Int63())), leases: []ls.LeaseID{100_000, -1}}
		store := stores[i%len(stores)]
		wg.Go(func() {
			ctx := testContext(t)
			for n := range requests {
				gen.now = seen.Load()
				c := &call{op: gen.op(), before: seen.Load()}
				if n%10 == 9 {
					c.op = gen.failing(i + n/10)
				}
				c.res, c.err = store.apply(ctx, c.op)
				seen.saw(c.revision())
				c.after = max(int64(store.Revision()), seen.Load())
				calls[i] = append(calls[i], c)
			}
		})
	}
	wg.Wait()
	return slices.Concat(calls...)
}

// replay runs the calls on the oracle in the order that their answers claim, and compares every answer. lag reports
// whether serializable reads may have been answered by a replica that had not applied all that others had acknowledged.
func replay(t *testing.T, o *oracle, calls []*call, lag bool) {
	t.Helper()
	var answered, failed []*call
	for _, c := range calls {
		if c.err != nil {
			if r, ok := c.op.(*ls.RangeRequest); lag && ok && r.Serializable && errors.Is(c.err, ls.ErrFutureRevision) {
				continue // a serializable read, and the replica lagged
			}
			failed = append(failed, c)
			continue
		}
		answered = append(answered, c)
		rev := c.revision()
		r, isRange := c.op.(*ls.RangeRequest)
		if lags := lag && isRange && r.Serializable; rev < c.before && !lags || wrote(c.res) && rev == c.before {
			t.Fatalf("%s\n  answered at revision %d, after %d had been acknowledged", requestText(c.op), rev, c.before)
		}
	}
	// The one that wrote a revision comes before those that only read it.
	slices.SortStableFunc(answered, func(a, b *call) int {
		if n := cmp.Compare(a.revision(), b.revision()); n != 0 {
			return n
		}
		switch {
		case wrote(a.res) == wrote(b.res):
			return 0
		case wrote(a.res):
			return -1
		}
		return 1
	})
	for _, c := range answered {
		rev := c.revision()
		if wrote(c.res) && rev != o.rev()+1 || !wrote(c.res) && rev != o.rev() {
			t.Fatalf("%s\n  %s\n  follows revision %d: "+
				"revisions must grow by one for each request that writes, and only then",
				requestText(c.op), resultText(c.res, nil), o.rev())
		}
		want := resultText(o.apply(c.op))
		mustMatch(t, fmt.Sprintf("%s at revision %d", requestText(c.op), rev), resultText(c.res, nil), want)
	}
	for _, c := range failed {
		if !o.failsBetween(c.op, c.err, c.before, c.after) {
			t.Fatalf("%s\n  failed with %v, which it does at no revision from %d to %d",
				requestText(c.op), c.err, c.before, c.after)
		}
	}
}

// failsBetween tells whether a request fails with err at one of the revisions.
func (o *oracle) failsBetween(op ls.Op, err error, from, through int64) bool {
	for rev := from; rev <= min(through, o.rev()); rev++ {
		// The capacity is cut with the length, so that nothing is written over.
		then := &oracle{states: o.states[: rev+1 : rev+1], compacted: o.compacted}
		if _, want := then.apply(op); want != nil && errors.Is(err, want) {
			return true
		}
	}
	return false
}

// TestOracleConcurrent sends random valid and failing transactions from many clients at once, to a log that is slow
// enough for them to share appends. The order of their revisions must explain every answer.
func TestOracleConcurrent(t *testing.T) {
	t.Parallel()
	rnd := testRand(t)
	path := tempDatabase(t)
	log := newFaultyLog(openSQLite(t, path))
	log.fail(faults{append: func(ctx context.Context, a *realAppend) error {
		elapse(time.Millisecond) // a slower disk, for larger batches
		return a.now(ctx)
	}})
	store := startStore(t, log, ls.Options{})
	run := &sequence{oracle: newOracle(), gen: &generator{chooser: rnd}, store: store}
	for range 60 {
		run.step(t)
	}
	// From here on nothing is compacted, so that the order of compactions and answers need not be known.
	run.compact(testContext(t), t, max(run.oracle.compacted+1, run.oracle.rev()-5))
	before := log.appended.Load()

	calls := callAll(t, rnd, []*replica{store}, 32, scaled(t, 22), run.oracle.rev())
	replay(t, run.oracle, calls, false)
	compareHistory(t, run.oracle, store)

	writes, failures := 0, map[string]int{}
	for _, c := range calls {
		if c.err != nil {
			failures[sentinelOf(c.err).Error()]++
		} else if wrote(c.res) {
			writes++
		}
	}
	appends := int(log.appended.Load() - before)
	t.Logf("%d requests, %d writes in %d appends, failures %v", len(calls), writes, appends, failures)
	if appends*3 > writes {
		t.Errorf("%d writes took %d appends: concurrent requests do not share them", writes, appends)
	}
	for _, want := range []error{ls.ErrCompacted, ls.ErrFutureRevision, ls.ErrKeyNotFound, ls.ErrLeaseNotFound} {
		if failures[want.Error()] == 0 {
			t.Errorf("no request failed with %q: the test does not reach what it is for", want)
		}
	}

	store.stop(t)
	compareHistory(t, run.oracle, startStore(t, openSQLite(t, path), ls.Options{}))
}

// TestOracleBadRequestFailsAlone queues failing requests of every kind with valid ones during an append, so that they
// form one batch.
func TestOracleBadRequestFailsAlone(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	log := newFaultyLog(openSQLite(t, tempDatabase(t)))
	store := startStore(t, log, ls.Options{})
	for i := range 10 {
		store.mustPut(t, "key", fmt.Sprint(i))
	}
	if _, err := store.Compact(ctx, ls.Unguarded, 8, false); err != nil {
		t.Fatal(err)
	}

	release := holdUp(t, log, store)
	var wg sync.WaitGroup

	put := &ls.PutRequest{Key: []byte("never written"), Value: []byte("x")}
	bad := []struct {
		op   ls.Op
		want error
	}{
		{&ls.TxnRequest{Success: []ls.Op{
			put, &ls.RangeRequest{KeyRange: everything, Revision: 1000},
		}}, ls.ErrFutureRevision},
		{&ls.TxnRequest{Success: []ls.Op{put, &ls.RangeRequest{KeyRange: everything, Revision: 7}}}, ls.ErrCompacted},
		{&ls.TxnRequest{Success: []ls.Op{
			put, &ls.PutRequest{Key: []byte("missing"), IgnoreValue: true},
		}}, ls.ErrKeyNotFound},
		{&ls.TxnRequest{Success: []ls.Op{
			put, &ls.TxnRequest{Success: []ls.Op{&ls.PutRequest{Key: []byte("missing"), IgnoreLease: true}}},
		}}, ls.ErrKeyNotFound},
		{&ls.TxnRequest{Success: []ls.Op{
			put, &ls.DeleteRangeRequest{KeyRange: ls.KeyRange{Key: []byte("key"), End: []byte{0}}},
			&ls.TxnRequest{Success: []ls.Op{&ls.PutRequest{Key: []byte("key"), IgnoreValue: true}}},
		}}, ls.ErrKeyNotFound},
		{&ls.TxnRequest{Success: []ls.Op{put, &ls.PutRequest{Key: []byte("leased"), Lease: -5}}}, ls.ErrLeaseNotFound},
		{&ls.PutRequest{Key: []byte("missing"), IgnoreValue: true}, ls.ErrKeyNotFound},
		{&ls.PutRequest{Key: []byte("never written"), Lease: ls.MaxLeaseTTL + 1}, ls.ErrLeaseNotFound},
	}
	const good = 20
	revisions := make([]ls.Revision, good)
	for i := range good {
		wg.Go(func() { revisions[i] = store.mustPut(t, fmt.Sprintf("good-%d", i), "x") })
		b := bad[i%len(bad)]
		wg.Go(func() {
			if _, err := store.apply(ctx, b.op); !errors.Is(err, b.want) {
				t.Errorf("%s: %v, want %v", requestText(b.op), err, b.want)
			}
		})
	}
	release()
	wg.Wait()

	slices.Sort(revisions)
	for i, rev := range revisions {
		if rev != ls.Revision(13+i) { // ten puts and the one that held up come before
			t.Fatalf("the good requests got revisions %v: they must follow each other", revisions)
		}
	}
	res, err := store.Range(ctx, ls.Unguarded, &ls.RangeRequest{KeyRange: everything, CountOnly: true})
	if err != nil || res.Count != 2+good || res.Revision != 12+good {
		t.Fatalf("%d keys at revision %d, %v", res.Count, res.Revision, err)
	}
}
