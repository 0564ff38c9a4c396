package logstructured_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/memory"
	ls "github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
)

// scarceLog is a log with as many connections for values as SQLite's driver has. A call for more than a mebibyte keeps
// its connection until the test lets it go on.
type scarceLog struct {
	*memory.Log
	connections chan struct{}

	mu        sync.Mutex
	goOn      chan struct{} // nil lets all calls through
	underWay  int
	largest   int // the most bytes that one call answered with
	positions int // the number of positions of all calls
}

func newScarceLog() *scarceLog {
	return &scarceLog{Log: new(memory.Database).Open(), connections: make(chan struct{}, 6)}
}

func (l *scarceLog) Values(ctx context.Context, positions []log.Position) (log.Values, error) {
	select {
	case l.connections <- struct{}{}:
		defer func() { <-l.connections }()
	case <-ctx.Done():
		return log.Values{}, ctx.Err()
	}
	v, err := l.Log.Values(ctx, positions)
	size := 0
	for _, value := range v.Values {
		size += len(value)
	}
	l.mu.Lock()
	l.largest = max(l.largest, size)
	l.positions += len(positions)
	goOn := l.goOn
	if size > 1<<20 && goOn != nil {
		l.underWay++
	}
	l.mu.Unlock()
	if size > 1<<20 && goOn != nil {
		select {
		case <-goOn:
		case <-ctx.Done():
			return log.Values{}, ctx.Err()
		}
	}
	return v, err
}

// hold makes large calls wait until release is called.
func (l *scarceLog) hold() (release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	goOn := make(chan struct{})
	l.goOn, l.underWay = goOn, 0
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		close(goOn)
		l.goOn = nil
	})
}

// held returns how many calls wait, or have waited, since hold.
func (l *scarceLog) held() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.underWay
}

// valuesRead returns the number of values that were requested so far.
func (l *scarceLog) valuesRead() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.positions
}

const (
	largeKeys  = 40
	largeValue = 512 << 10
)

// startLarge runs a store with values of half a mebibyte, and no value cache unless cache is positive.
func startLarge(t *testing.T, l log.Log, cache int64) *replica {
	t.Helper()
	r := startStore(t, l, ls.Options{ValueCacheBytes: cache, RequestTimeout: patience})
	for i := range largeKeys {
		value := make([]byte, largeValue)
		value[0] = byte(largeKeys - i)
		if _, err := r.Put(testContext(t), ls.Unguarded,
			&ls.PutRequest{Key: fmt.Appendf(nil, "large/%02d", i), Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	r.mustPut(t, "small", "value")
	return r
}

func everyLarge(target ls.SortTarget) *ls.RangeRequest {
	return &ls.RangeRequest{KeyRange: ls.KeyRange{Key: []byte("large/"), End: []byte("large0")}, SortTarget: target}
}

// TestSmallReadOvertakesBulkReads blocks many reads of everything, of each kind. A small read that the cache cannot
// answer is answered meanwhile. Then all of them finish.
func TestSmallReadOvertakesBulkReads(t *testing.T) {
	l := newScarceLog()
	r := startLarge(t, l, -1)
	release := l.hold()
	defer release()
	ctx := testContext(t)
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			res, err := r.Range(ctx, ls.Unguarded, everyLarge(ls.SortByValue))
			if err != nil || len(res.KVs) != largeKeys {
				t.Errorf("sorted by value: %v", err)
				return
			}
			for i, kv := range res.KVs {
				if len(kv.Value) != largeValue || kv.Value[0] != byte(i+1) {
					t.Errorf("key %q is at %d", kv.Key, i)
				}
			}
		})
		clients.Go(func() {
			res, err := r.Range(ctx, ls.Unguarded, everyLarge(ls.SortByKey))
			if err != nil || len(res.KVs) != largeKeys || len(res.KVs[7].Value) != largeValue {
				t.Errorf("list: %v", err)
			}
		})
		clients.Go(func() {
			if _, _, err := r.Hash(ctx, ls.Unguarded); err != nil {
				t.Errorf("hash: %v", err)
			}
		})
		clients.Go(func() {
			ws := r.NewWatchStream()
			defer ws.Close()
			ws.Create(ls.Unguarded,
				ls.WatchRequest{KeyRange: ls.KeyRange{Key: []byte("large/"), End: []byte("large0")}, StartRevision: 1})
			for events := 0; events < largeKeys; {
				res, err := ws.Next(ctx)
				if err != nil {
					t.Errorf("watch: %v", err)
					return
				}
				events += len(res.Events)
			}
		})
	}
	eventually(t, "lists, watches and hashes read", func() bool { return l.held() == 4 })
	short, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	res, err := r.Range(short, ls.Unguarded, &ls.RangeRequest{KeyRange: ls.KeyRange{Key: []byte("small")}})
	if err != nil || string(res.KVs[0].Value) != "value" {
		t.Fatalf("a small read during bulk reads: %v", err)
	}
	r.mustPut(t, "small", "another")
	release()
	clients.Wait()
	if l.largest > 9<<20 {
		t.Errorf("one question was answered with %d bytes", l.largest)
	}
}

// TestSortReadsEachValueOnce sorts by values that are not cached.
func TestSortReadsEachValueOnce(t *testing.T) {
	l := newScarceLog()
	r := startLarge(t, l, -1)
	before := l.valuesRead()
	if _, err := r.Range(testContext(t), ls.Unguarded, everyLarge(ls.SortByValue)); err != nil {
		t.Fatal(err)
	}
	if n := l.valuesRead() - before; n != largeKeys {
		t.Errorf("%d values were read, want %d", n, largeKeys)
	}
}

// TestBulkReadStopsWithItsClient cancels a read during its first batch. It must not start another batch.
func TestBulkReadStopsWithItsClient(t *testing.T) {
	for name, read := range map[string]func(context.Context, *ls.Store) error{
		"list": func(ctx context.Context, s *ls.Store) error {
			_, err := s.Range(ctx, ls.Unguarded, everyLarge(ls.SortByKey))
			return err
		},
		"hash": func(ctx context.Context, s *ls.Store) error {
			_, err := s.HashKV(ctx, ls.Unguarded, 0)
			return err
		},
		"snapshot": func(ctx context.Context, s *ls.Store) error {
			x, err := s.Export(ctx, ls.Unguarded)
			if err == nil {
				_, err = x.Read(ctx, func([]log.Entry) error { return nil })
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newScarceLog()
			r := startLarge(t, l, -1)
			before := l.valuesRead()
			defer l.hold()()
			ctx, cancel := context.WithCancel(testContext(t))
			outcome := make(chan error, 1)
			go func() { outcome <- read(ctx, r.Store) }()
			eventually(t, "the first batch is being read", func() bool { return l.held() == 1 })
			cancel()
			if err := <-outcome; !errors.Is(err, context.Canceled) {
				t.Errorf("the outcome is %v", err)
			}
			eventually(t, "the connection is free", func() bool { return len(l.connections) == 0 })
			if n := l.valuesRead() - before; n > largeKeys/2 {
				t.Errorf("%d of %d values were read", n, largeKeys)
			}
		})
	}
}

// TestHashDoesNotEvictTheCache hashes more than the cache holds. The values that clients read stay cached.
func TestHashDoesNotEvictTheCache(t *testing.T) {
	l := newScarceLog()
	r := startLarge(t, l, 4*largeValue)
	small := &ls.RangeRequest{KeyRange: ls.KeyRange{Key: []byte("small")}}
	if _, err := r.Range(testContext(t), ls.Unguarded, small); err != nil {
		t.Fatal(err)
	}
	if _, err := r.HashKV(testContext(t), ls.Unguarded, 0); err != nil {
		t.Fatal(err)
	}
	before := l.valuesRead()
	if _, err := r.Range(testContext(t), ls.Unguarded, small); err != nil || l.valuesRead() != before {
		t.Errorf("a value was read again after a hash (%v)", err)
	}
}
