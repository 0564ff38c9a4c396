package logstructured_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"testing"
	"time"

	ls "github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
)

// TestReplicaSequenceUnderFaults sends random requests, one after the other, through any of three stores whose logs
// fail at times. A request that failed because of the database is sent again. Every answer and the final history must
// be those of the oracle, so nothing that was undone leaves a trace.
func TestReplicaSequenceUnderFaults(t *testing.T) {
	t.Parallel()
	rnd := testRand(t)
	path := tempDatabase(t)
	opts := ls.Options{RequestTimeout: patience, CompactRetention: time.Nanosecond, ValueCacheBytes: 4096}
	dice := &lockedDice{rnd: rand.New(rand.NewSource(rnd.Int63()))}
	failure := func(context.Context) error {
		if dice.Intn(25) == 0 {
			return errDatabase
		}
		return nil
	}
	f := faults{end: failure, read: failure, values: failure, remove: failure}
	f.append = func(ctx context.Context, a *realAppend) error {
		switch dice.Intn(12) {
		case 0, 1:
			return errDatabase
		case 2:
			return log.ErrUnknown
		case 3:
			return errors.Join(a.now(ctx), log.ErrUnknown)
		case 4:
			a.later(time.Duration(dice.Intn(8)) * time.Millisecond)
			return log.ErrUnknown
		}
		return a.now(ctx)
	}
	var replicas []*replica
	for range 3 {
		l := newFaultyLog(openSQLite(t, path))
		replicas = append(replicas, startStore(t, l, opts))
		l.fail(f)
	}
	o := newOracle()
	gen := &generator{chooser: rnd, leases: []ls.LeaseID{100_000}}
	var requests []string
	retries := 0
	for range scaled(t, 250) {
		before := o.rev()
		gen.now = before
		store := replicas[gen.Intn(len(replicas))]
		var do func() string
		var want string
		if gen.chance(6) {
			rev, physical := gen.compactRevision(o), gen.chance(50)
			requests = append(requests, fmt.Sprintf("Compact{%d}", rev))
			current, err := o.compact(rev)
			want = compactText(current, err)
			do = func() string {
				got, err := store.Compact(testContext(t), ls.Unguarded, ls.Revision(rev), physical)
				return compactText(int64(got), err)
			}
		} else {
			op := gen.op()
			if r, ok := op.(*ls.RangeRequest); ok {
				// A transaction asks for the log's end also where a range would not.
				r.Serializable = false
				op = &ls.TxnRequest{Success: []ls.Op{r}}
			}
			requests = append(requests, requestText(op))
			want = resultText(o.apply(op))
			do = func() string { return resultText(store.apply(testContext(t), op)) }
		}
		got := do()
		for ; got == resultText(nil, ls.ErrUnavailable) || got == resultText(nil, log.ErrUnknown); got = do() {
			retries++
			// Almost without retention, the entries that show the outcome may be deleted before they are read. Then the
			// revision shows it.
			if got == resultText(nil, log.ErrUnknown) && o.rev() > before &&
				int64(currentRevision(t, store)) == o.rev() {
				got = want
				break
			}
		}
		if got != want {
			for _, r := range requests[max(0, len(requests)-12):] {
				t.Log(r)
			}
			mustMatch(t, fmt.Sprintf("after revision %d, compacted %d", o.rev(), o.compacted), got, want)
		}
	}
	t.Logf("%d retries, revision %d", retries, o.rev())
	if retries == 0 {
		t.Error("nothing failed: the test did not reach its purpose")
	}
	for _, r := range replicas {
		r.stop(t)
	}
	compareHistory(t, o, startStore(t, openSQLite(t, path), ls.Options{}))
}

// currentRevision asks until the database answers.
func currentRevision(t *testing.T, store *replica) ls.Revision {
	t.Helper()
	for {
		result, err := store.Range(testContext(t), ls.Unguarded,
			&ls.RangeRequest{KeyRange: ls.KeyRange{Key: []byte("k")}})
		if err == nil {
			return result.Revision
		}
		if !errors.Is(err, ls.ErrUnavailable) {
			t.Fatal(err)
		}
	}
}

// TestReplicaBehindTheFloor disconnects a store while others write, delete, compact and delete rows. Once connected it
// must rebuild its index. Watchers that had seen the compacted revisions continue, and the others are canceled.
func TestReplicaBehindTheFloor(t *testing.T) {
	t.Parallel()
	path := tempDatabase(t)
	opts := ls.Options{CompactRetention: time.Nanosecond, RequestTimeout: 500 * time.Millisecond}
	l := newFaultyLog(openSQLite(t, path))
	cutOff := startStore(t, l, opts)
	other := startStore(t, openSQLite(t, path), ls.Options{CompactRetention: time.Nanosecond})
	run := newSequence(t, other)
	for range 100 {
		run.step(t)
	}
	if _, err := cutOff.Range(testContext(t), ls.Unguarded, &ls.RangeRequest{KeyRange: everything}); err != nil {
		t.Fatal(err)
	}
	stream := recordStream(t, cutOff)
	// The first two miss compacted revisions; the third may not.
	begin := ls.Revision(run.oracle.rev() + 1)
	stream.create(ls.WatchRequest{KeyRange: everything, ID: 1}, -1)
	stream.create(ls.WatchRequest{KeyRange: everything, ID: 2, StartRevision: begin + 1}, -1)
	stream.create(ls.WatchRequest{KeyRange: everything, ID: 3, StartRevision: begin + 30}, -1)
	eventually(t, "all watchers are created", func() bool { return len(stream.recorded()) == 3 })

	l.failAll(errDatabase)
	// From now on all writes, deletions and compactions are unknown to the first store.
	for run.oracle.rev() < int64(begin)+40 {
		run.step(t)
	}
	if missed := int64(begin) + 20; run.oracle.compacted < missed {
		want, err := run.oracle.compact(missed)
		got, gotErr := other.Compact(testContext(t), ls.Unguarded,
			ls.Revision(missed), true) // the rows are gone when it returns
		mustMatch(t, "compaction", compactText(int64(got), gotErr), compactText(want, err))
	}
	l.heal()
	eventually(t, "the store follows again", func() bool { return int64(cutOff.Revision()) == run.oracle.rev() })
	compareHistory(t, run.oracle, cutOff)
	// One that lives, whatever the random requests compacted: without any there is no progress.
	stream.create(ls.WatchRequest{KeyRange: everything, ID: 4}, -1)
	for range 60 {
		run.step(t)
	}
	stream.synced(t, run.oracle.rev())
	compactions := map[ls.WatchID]ls.Revision{}
	for _, r := range stream.recorded() {
		if r.Canceled {
			compactions[r.WatchID] = r.CompactRevision
		}
	}
	if compactions[1] == 0 || compactions[2] == 0 {
		t.Errorf("watchers that missed compacted revisions must be canceled: %v", compactions)
	}
	var all []int64
	for _, c := range compactions {
		all = append(all, int64(c))
	}
	stream.verify(t, run.oracle, all)
}
