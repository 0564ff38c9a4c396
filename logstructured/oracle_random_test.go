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

// everything is a range over the whole key space.
var everything = ls.KeyRange{Key: []byte{0}, End: []byte{0}}

// TestOracleSequence sends random requests, one after the other, to a store and to the oracle. It compares every
// answer, from time to time the whole readable history, and the same after reopening the store.
func TestOracleSequence(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		steps int
		opts  ls.Options
	}{
		{"everything cached", 700, ls.Options{}},
		// Without a cache each answer is read from the database, which takes its time.
		{"nothing cached", 250, ls.Options{ValueCacheBytes: -1}},
		{"little cached, rows deleted at once", 300, ls.Options{
			ValueCacheBytes: 2048, CompactRetention: time.Nanosecond,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := tempDatabase(t)
			run := &sequence{
				oracle: newOracle(),
				gen:    &generator{chooser: testRand(t), leases: []ls.LeaseID{100_000, 200_000, ls.MaxLeaseTTL + 1}},
				store:  startStore(t, openSQLite(t, path), c.opts),
			}
			for i := range scaled(t, c.steps) {
				run.step(t)
				if i%120 == 119 {
					run.compareHistory(t)
				}
				if i%150 == 149 {
					run.store.stop(t)
					run.store = startStore(t, openSQLite(t, path), c.opts)
					run.compareHistory(t)
				}
			}
		})
	}
}

type sequence struct {
	oracle *oracle
	gen    *generator
	store  *replica
	// log is what was requested so far, the newest last, for failures.
	log []string
}

// newSequence returns a sequence of random requests to store.
func newSequence(t testing.TB, store *replica) *sequence {
	return &sequence{oracle: newOracle(), gen: &generator{chooser: testRand(t)}, store: store}
}

// step sends one random request to both and compares the answers.
func (s *sequence) step(t testing.TB) {
	t.Helper()
	ctx := testContext(t)
	s.gen.now = s.oracle.rev()
	if s.gen.chance(2) {
		s.compact(ctx, t, s.gen.compactRevision(s.oracle))
		return
	}
	op := s.gen.op()
	s.note(requestText(op))
	want := resultText(s.oracle.apply(op))
	s.match(t, resultText(s.store.apply(ctx, op)), want)
}

func (s *sequence) compact(ctx context.Context, t testing.TB, rev int64) {
	t.Helper()
	physical := s.gen.chance(50)
	s.note(fmt.Sprintf("Compact{%d physical=%v}", rev, physical))
	want, wantErr := s.oracle.compact(rev)
	got, err := s.store.Compact(ctx, ls.Unguarded, ls.Revision(rev), physical)
	s.match(t, compactText(int64(got), err), compactText(want, wantErr))
}

func compactText(rev int64, err error) string {
	if err != nil {
		return resultText(nil, err)
	}
	return fmt.Sprint("compacted, now ", rev)
}

// compactRevision is mostly one that can be compacted, and leaves some history.
func (g *generator) compactRevision(o *oracle) int64 {
	if g.chance(20) {
		return o.compacted - 1 + int64(g.Intn(3))
	}
	if g.chance(10) {
		return o.rev() + int64(g.Intn(3))
	}
	first := o.firstReadable()
	return first + int64(g.Intn(int(o.rev()-first)+1))/2
}

// note remembers the request that is about to be compared.
func (s *sequence) note(request string) {
	if s.log = append(s.log, request); len(s.log) > 12 {
		s.log = s.log[1:]
	}
}

func (s *sequence) match(t testing.TB, got, want string) {
	t.Helper()
	if got != want {
		for _, request := range s.log {
			t.Log(request)
		}
		mustMatch(t, fmt.Sprintf("after revision %d, compacted %d", s.oracle.rev(), s.oracle.compacted), got, want)
	}
}

func (s *sequence) compareHistory(t testing.TB) {
	t.Helper()
	compareHistory(t, s.oracle, s.store)
}

// compareHistory reads the whole key space at every revision from both, and compares their hashes.
func compareHistory(t testing.TB, o *oracle, store *replica) {
	t.Helper()
	ctx := testContext(t)
	if got := int64(store.Revision()); got > o.rev() {
		t.Fatalf("the store is at revision %d, the oracle at %d", got, o.rev())
	}
	for rev := max(1, o.compacted-2); rev <= o.rev()+1; rev++ {
		op := &ls.RangeRequest{KeyRange: everything, Revision: ls.Revision(rev)}
		what := fmt.Sprintf("all keys at revision %d of %d, compacted %d", rev, o.rev(), o.compacted)
		want := resultText(o.apply(op))
		mustMatch(t, what, resultText(store.apply(ctx, op)), want)
	}
	compareHashes(t, o, store)
}

func compareHashes(t testing.TB, o *oracle, store *replica) {
	t.Helper()
	ctx := testContext(t)
	// A hash at the compact revision is one that etcd may have kept from before.
	for rev := max(1, o.compacted+1); rev <= o.rev(); rev += 1 + (o.rev()-rev)/4 {
		want, comparable := o.hashKV(rev)
		got, err := store.HashKV(ctx, ls.Unguarded, ls.Revision(rev))
		if err != nil {
			t.Fatalf("hash at revision %d of %d, compacted %d: %v", rev, o.rev(), o.compacted, err)
		}
		if comparable && got.Hash != want || int64(got.Revision) != o.rev() ||
			int64(got.HashRevision) != rev || int64(got.CompactRevision) != o.compacted {
			t.Fatalf("hash at revision %d of %d, compacted %d: store %+v, oracle %d",
				rev, o.rev(), o.compacted, *got, want)
		}
	}
}

// TestOracleHashSurvivesReopen hashes before and after the index is rebuilt and rows are deleted.
func TestOracleHashSurvivesReopen(t *testing.T) {
	t.Parallel()
	path := tempDatabase(t)
	opts := ls.Options{CompactRetention: time.Nanosecond}
	run := newSequence(t, startStore(t, openSQLite(t, path), opts))
	for range 200 {
		run.step(t)
	}
	ctx := testContext(t)
	run.compact(ctx, t, max(run.oracle.compacted+1, run.oracle.rev()-30))
	before, err := run.store.HashKV(ctx, ls.Unguarded, 0)
	if err != nil {
		t.Fatal(err)
	}
	run.store.stop(t)
	run.store = startStore(t, openSQLite(t, path), opts)
	after, err := run.store.HashKV(ctx, ls.Unguarded, 0)
	if err != nil {
		t.Fatal(err)
	}
	if *before != *after {
		t.Fatalf("hash before reopening %+v, after %+v", *before, *after)
	}
	run.compareHistory(t)
}

// TestOracleCompactionDeletesRows counts the rows that a physical compaction leaves: the live keys, the history above
// the compact revision, and few more.
func TestOracleCompactionDeletesRows(t *testing.T) {
	t.Parallel()
	path := tempDatabase(t)
	store := startStore(t, openSQLite(t, path), ls.Options{CompactRetention: time.Nanosecond})
	for i := range 300 {
		store.mustPut(t, fmt.Sprintf("key-%d", i%3), fmt.Sprint(i))
	}
	if _, err := store.DeleteRange(testContext(t), ls.Unguarded,
		&ls.DeleteRangeRequest{KeyRange: ls.KeyRange{Key: []byte("key-0")}}); err != nil {
		t.Fatal(err)
	}
	last := store.mustPut(t, "other", "x")
	if _, err := store.Compact(testContext(t), ls.Unguarded, last, true); err != nil {
		t.Fatal(err)
	}

	l := openSQLite(t, path)
	defer l.Close()
	// Three live keys and the compaction; the newest row and one tombstone may have to stay. Compact waits only for
	// what its retention was over for by the store's reckoning of the database's clock, which is never early and may be
	// a little late.
	deadline := time.Now().Add(patience)
	for rows := 0; rows < 4 || rows > 6; {
		rows = 0
		if _, err := l.Scan(t.Context(), 0, func(entries []log.Entry) error {
			rows += len(entries)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if rows < 4 || time.Now().After(deadline) {
			t.Fatalf("%d rows are left after compacting 302 revisions to 3 live keys", rows)
		}
	}
}

// TestRetentionKeepsCompactedRows keeps compacted rows in the database until their retention ends, although no client
// can read them.
func TestRetentionKeepsCompactedRows(t *testing.T) {
	t.Parallel()
	path := tempDatabase(t)
	l := openSQLite(t, path)
	defer l.Close()
	store := startStore(t, openSQLite(t, path), ls.Options{CompactRetention: time.Hour})
	for i := range 20 {
		store.mustPut(t, "key", fmt.Sprint(i))
	}
	if _, err := store.Compact(testContext(t), ls.Unguarded, store.Revision(), true); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Range(testContext(t), ls.Unguarded,
		&ls.RangeRequest{KeyRange: everything, Revision: 5}); !errors.Is(err, ls.ErrCompacted) {
		t.Fatalf("a read below the compact revision: %v", err)
	}
	values, err := l.Values(t.Context(), []log.Position{1, 2, 19})
	if err != nil {
		t.Fatal(err)
	}
	for i, found := range values.Found {
		if !found {
			t.Fatalf("row %d of [1 2 19] is gone before its retention has ended", i)
		}
	}
}

var _ chooser = (*rand.Rand)(nil)
