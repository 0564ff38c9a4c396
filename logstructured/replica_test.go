package logstructured_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"sync"
	"testing"
	"time"

	ls "github.com/stele-db/stele/logstructured"
)

// startReplicas opens stores over one SQLite file, each with a connection of its own, as separate processes have.
func startReplicas(t testing.TB, n int, opts ls.Options) []*replica {
	path := tempDatabase(t)
	replicas := make([]*replica, n)
	for i := range replicas {
		replicas[i] = startStore(t, openSQLite(t, path), opts)
	}
	return replicas
}

// TestReplicaConcurrentWrites sends random transactions through three stores at once. One order of all of them must
// explain every answer, and every store must end with the same history.
func TestReplicaConcurrentWrites(t *testing.T) {
	t.Parallel()
	replicas := startReplicas(t, 3, ls.Options{})
	o := newOracle()
	calls := callAll(t, testRand(t), replicas, 15, scaled(t, 30), o.rev())
	replay(t, o, calls, true)
	for _, r := range replicas {
		if _, err := r.Range(testContext(t), ls.Unguarded, &ls.RangeRequest{KeyRange: everything}); err != nil {
			t.Fatal(err)
		}
		compareHistory(t, o, r)
	}
}

// TestReplicaReadsAreLinearizable writes through one store and then reads through another one.
func TestReplicaReadsAreLinearizable(t *testing.T) {
	t.Parallel()
	replicas := startReplicas(t, 2, ls.Options{})
	ctx := testContext(t)
	for i := range scaled(t, 150) {
		writer, reader := replicas[i%2], replicas[(i+1)%2]
		rev := writer.mustPut(t, "key", fmt.Sprint(i))
		var kv string
		if i%3 == 0 {
			res, err := reader.Txn(ctx, ls.Unguarded,
				&ls.TxnRequest{Success: []ls.Op{&ls.RangeRequest{KeyRange: ls.KeyRange{Key: []byte("key")}}}})
			if err != nil {
				t.Fatal(err)
			}
			kv = kvsText(res.Results[0].(*ls.RangeResult).KVs)
		} else {
			res, err := reader.Range(ctx, ls.Unguarded, &ls.RangeRequest{KeyRange: ls.KeyRange{Key: []byte("key")}})
			if err != nil {
				t.Fatal(err)
			}
			kv = kvsText(res.KVs)
		}
		want := fmt.Sprintf(" (%q=%q create=2 mod=%d version=%d lease=0)", "key", fmt.Sprint(i), rev, i+1)
		if kv != want {
			t.Fatalf("the other replica read%s, want%s", kv, want)
		}
	}
}

// TestReplicaFailuresAreCurrent sends requests to one store that fail only in the state before the acknowledged write
// of another one.
func TestReplicaFailuresAreCurrent(t *testing.T) {
	t.Parallel()
	replicas := startReplicas(t, 2, ls.Options{PollInterval: patience})
	ctx := testContext(t)
	for i := range 10 {
		writer, other := replicas[i%2], replicas[(i+1)%2]
		key := []byte(fmt.Sprint("key-", i))
		rev := writer.mustPut(t, string(key), "value")
		if _, err := other.Range(ctx, ls.Unguarded, &ls.RangeRequest{KeyRange: everything, Revision: rev}); err != nil {
			t.Errorf("range at revision %d, just acknowledged elsewhere: %v", rev, err)
		}
		rev = writer.mustPut(t, string(key), "value")
		if _, err := other.Txn(ctx, ls.Unguarded,
			&ls.TxnRequest{Success: []ls.Op{&ls.RangeRequest{KeyRange: everything, Revision: rev}}}); err != nil {
			t.Errorf("txn with a range at revision %d, just acknowledged elsewhere: %v", rev, err)
		}
		key = append(key, '+')
		writer.mustPut(t, string(key), "value")
		if _, err := other.Put(ctx, ls.Unguarded, &ls.PutRequest{Key: key, IgnoreValue: true}); err != nil {
			t.Errorf("update of a key just created elsewhere: %v", err)
		}
		rev = writer.mustPut(t, string(key), "value")
		if _, err := other.HashKV(ctx, ls.Unguarded, rev); err != nil {
			t.Errorf("hash at revision %d, just acknowledged elsewhere: %v", rev, err)
		}
		rev = writer.mustPut(t, string(key), "value")
		if _, err := other.Compact(ctx, ls.Unguarded, rev, false); err != nil {
			t.Errorf("compaction at revision %d, just acknowledged elsewhere: %v", rev, err)
		}
		past := &ls.TxnRequest{Success: []ls.Op{&ls.RangeRequest{KeyRange: everything, Revision: rev - 1}}}
		if _, err := writer.Txn(ctx, ls.Unguarded, past); !errors.Is(err, ls.ErrCompacted) {
			t.Errorf("txn with a range below a revision that was just compacted elsewhere: %v", err)
		}
	}
}

// TestReplicaReadsAtRevisionsAreLinearizable reads at an applied revision, through a store that does not follow by
// itself. The header shows what the other store has acknowledged, and revisions that it has compacted cannot be read.
func TestReplicaReadsAtRevisionsAreLinearizable(t *testing.T) {
	t.Parallel()
	replicas := startReplicas(t, 2, ls.Options{PollInterval: patience})
	ctx := testContext(t)
	writer, reader := replicas[0], replicas[1]
	reads := map[string]func(at ls.Revision) (header ls.Revision, err error){
		"range": func(at ls.Revision) (ls.Revision, error) {
			res, err := reader.Range(ctx, ls.Unguarded, &ls.RangeRequest{KeyRange: everything, Revision: at})
			if err != nil {
				return 0, err
			}
			return res.Revision, nil
		},
		"txn": func(at ls.Revision) (ls.Revision, error) {
			res, err := reader.Txn(ctx, ls.Unguarded,
				&ls.TxnRequest{Success: []ls.Op{&ls.RangeRequest{KeyRange: everything, Revision: at}}})
			if err != nil {
				return 0, err
			}
			return res.Revision, nil
		},
		"hash of the keys": func(at ls.Revision) (ls.Revision, error) {
			res, err := reader.HashKV(ctx, ls.Unguarded, at)
			if err != nil {
				return 0, err
			}
			return res.Revision, nil
		},
	}
	for what, read := range reads {
		applied := writer.mustPut(t, "key", "value")
		if _, err := read(0); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		acknowledged := writer.mustPut(t, "key", "value")
		if header, err := read(applied); err != nil || header < acknowledged {
			t.Errorf("%s at revision %d: header revision %d, after another replica acknowledged %d: %v",
				what, applied, header, acknowledged, err)
		}
		if _, err := writer.Compact(ctx, ls.Unguarded, acknowledged, false); err != nil {
			t.Fatal(err)
		}
		if _, err := read(applied); !errors.Is(err, ls.ErrCompacted) {
			t.Errorf("%s at revision %d, after %d had been compacted elsewhere: %v", what, applied, acknowledged, err)
		}
	}
	acknowledged := writer.mustPut(t, "key", "value")
	if granted, err := reader.LeaseGrant(ctx, ls.Unguarded, 0, 60); err != nil || granted.Revision < acknowledged {
		t.Errorf("lease: %+v, after revision %d had been acknowledged elsewhere: %v", granted, acknowledged, err)
	}
}

// TestReplicaSeesWholeRevisions writes and deletes thousands of keys in one revision, more than a follower reads at
// once. Another replica must always see all of them or none.
func TestReplicaSeesWholeRevisions(t *testing.T) {
	t.Parallel()
	const keys = 1700
	replicas := startReplicas(t, 2, ls.Options{})
	ctx, stop := context.WithCancel(testContext(t))
	stream := recordStream(t, replicas[1])
	stream.create(ls.WatchRequest{KeyRange: everything, ID: 1}, -1)

	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			elapse(time.Millisecond) // leave the processor to the replicas
			res, err := replicas[1].Range(ctx, ls.Unguarded,
				&ls.RangeRequest{KeyRange: everything, CountOnly: true, Serializable: true})
			if err == nil && res.Count != 0 && res.Count != keys {
				t.Errorf("a replica sees %d of %d keys that come and go in one revision each", res.Count, keys)
				return
			}
		}
	})
	put := &ls.TxnRequest{}
	for i := range keys {
		put.Success = append(put.Success, &ls.PutRequest{Key: fmt.Appendf(nil, "key-%04d", i), Value: []byte("x")})
	}
	o := newOracle()
	for range 2 {
		for _, op := range []ls.Op{put, &ls.DeleteRangeRequest{KeyRange: everything}} {
			want := resultText(o.apply(op))
			mustMatch(t, "one revision of many keys", resultText(replicas[0].apply(ctx, op)), want)
		}
	}
	stream.synced(t, o.rev())
	stop()
	wg.Wait()
	stream.verify(t, o, nil)
}

// TestReplicaWatchesOthers watches, on one store, the writes through all three. Each event comes once and in order.
func TestReplicaWatchesOthers(t *testing.T) {
	t.Parallel()
	replicas := startReplicas(t, 3, ls.Options{})
	var streams []*recordedStream
	for _, r := range replicas {
		s := recordStream(t, r)
		s.create(ls.WatchRequest{KeyRange: everything, ID: 1, PrevKV: true, StartRevision: 2}, -1)
		s.create(ls.WatchRequest{KeyRange: ls.KeyRange{Key: []byte("b"), End: []byte("c")}, ID: 2}, -1)
		streams = append(streams, s)
	}
	o := newOracle()
	rnd := testRand(t)
	replay(t, o, callAll(t, rand.New(rand.NewSource(rnd.Int63())), replicas, 9, scaled(t, 40), o.rev()), true)
	for _, s := range streams {
		s.synced(t, o.rev())
		if s.verify(t, o, nil) < len(o.events) {
			t.Errorf("fewer events were delivered than written")
		}
	}
}

// TestReplicaCompactionIsSeen compacts through one store, with rows deleted at once, while a second store follows and a
// third one is stopped. The third one must build its index from the remaining rows.
func TestReplicaCompactionIsSeen(t *testing.T) {
	t.Parallel()
	path := tempDatabase(t)
	opts := ls.Options{CompactRetention: 1, ValueCacheBytes: -1}
	first, second := startStore(t, openSQLite(t, path), opts), startStore(t, openSQLite(t, path), opts)
	run := newSequence(t, first)
	for round := range 6 {
		run.store = []*replica{first, second}[round%2]
		for range scaled(t, 60) {
			run.step(t)
		}
		if run.oracle.rev() > run.oracle.compacted+5 {
			run.compact(testContext(t), t, run.oracle.rev()-3)
		}
		third := startStore(t, openSQLite(t, path), opts)
		for _, r := range []*replica{first, second, third} {
			if _, err := r.Range(testContext(t), ls.Unguarded, &ls.RangeRequest{KeyRange: everything}); err != nil {
				t.Fatal(err)
			}
			compareHistory(t, run.oracle, r)
		}
		third.stop(t)
	}
}
