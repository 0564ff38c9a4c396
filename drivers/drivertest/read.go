package drivertest

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stele-db/stele/logstructured/log"
)

func (s suite) readLimits(t *testing.T) {
	l := s.fresh(t, 1)[0]
	ctx := testContext(t)
	head := fill(t, l, log.Head{}, 300, 100)
	for _, test := range []struct {
		after       log.Position
		limit, want int
	}{{0, 1, 1}, {0, 299, 299}, {0, 300, 300}, {0, 1000, 300}, {299, 10, 1}, {300, 10, 0}, {1000, 10, 0},
		{150, 1 << 40, 150}} {
		entries, end, err := l.Read(ctx, test.after, test.limit)
		if err != nil || len(entries) != test.want || end.Head != head {
			t.Errorf("Read(%d, %d): %d entries, end %v, %v; want %d and %v", test.after, test.limit, len(entries),
				end.Head, err, test.want, head)
		}
		for i, e := range entries {
			if e.Position != test.after+log.Position(i+1) {
				t.Fatalf("Read(%d, %d): entry %d has position %d", test.after, test.limit, i, e.Position)
			}
		}
	}
	// Read is also limited in bytes: it returns one entry of 12 MiB alone, and does not return twenty of 1 MiB at once.
	large := puts(5, 21)
	for i := range large {
		large[i].Value = make([]byte, 1<<20)
	}
	_, excused := s.Exceptions[LargeEntry]
	if !excused {
		large[0].Value = make([]byte, 12<<20)
	}
	mustAppend(t, l, head, large)
	entries, _, err := l.Read(ctx, head.Position, 100)
	if err != nil || len(entries) != 1 && !excused {
		t.Errorf("Read: %d entries, %v; want the one of 12 MiB", len(entries), err)
	}
	entries, _, err = l.Read(ctx, head.Position+1, 100)
	if err != nil || len(entries) < 4 || len(entries) > 12 {
		t.Errorf("Read: %d entries of 1 MiB, %v; want about 8", len(entries), err)
	}
	if all := readAll(t, l, head.Position); len(all) != 21 {
		t.Errorf("%d entries in steps, want 21", len(all))
	}
}

// appending appends to l in the background. stop ends that and returns the number of entries appended.
func appending(t *testing.T, l log.Log, head log.Head) (stop func() int) {
	ctx, cancel := context.WithCancel(testContext(t))
	var wg sync.WaitGroup
	n := 0
	wg.Go(func() {
		for ctx.Err() == nil {
			rows := 1 + rand.IntN(5)
			id := newID()
			if err := l.Append(context.WithoutCancel(ctx), head, id, puts(3, rows)); err != nil {
				t.Errorf("Append: %v", err)
				return
			}
			head = log.Head{Position: head.Position + log.Position(rows), ID: id}
			n += rows
		}
	})
	return sync.OnceValue(func() int {
		cancel()
		wg.Wait()
		return n
	})
}

// readIsASnapshot checks that a Read up to the head returns the head that matches its last entry.
func (s suite) readIsASnapshot(t *testing.T) {
	logs := s.fresh(t, 2)
	ctx := testContext(t)
	head := mustAppend(t, logs[0], log.Head{}, puts(2, 1))
	stop := appending(t, logs[0], head)
	defer stop()
	var after log.Position
	for reads := 0; reads < 200 && !t.Failed(); reads++ {
		entries, end, err := logs[1].Read(ctx, after, 10_000)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) > 0 {
			last := entries[len(entries)-1]
			if end.Head != (log.Head{Position: last.Position, ID: last.ID}) {
				t.Fatalf("the last entry read is %d/%x, and the end %v", last.Position, uint64(last.ID), end.Head)
			}
			if want := after + log.Position(len(entries)); last.Position != want {
				t.Fatalf("%d entries after %d end at %d: a hole", len(entries), after, last.Position)
			}
			after = last.Position
		} else if end.Position != after {
			t.Fatalf("nothing read after %d, and the end is %v", after, end.Head)
		}
	}
	stop()
}

func (s suite) scanIsASnapshot(t *testing.T) {
	logs := s.fresh(t, 2)
	ctx := testContext(t)
	head := fill(t, logs[0], log.Head{}, 3000, 500)
	stop := appending(t, logs[0], head)
	defer stop()
	for range 5 {
		var last log.Head
		var keys, copies [][]byte
		end, err := logs[1].Scan(ctx, 0, func(batch []log.Entry) error {
			for _, e := range batch {
				if e.Position != last.Position+1 {
					t.Fatalf("position %d follows %d", e.Position, last.Position)
				}
				last = log.Head{Position: e.Position, ID: e.ID}
				if len(e.Value) > 0 {
					t.Fatal("Scan returns the value of a put")
				}
				keys, copies = append(keys, e.Key), append(copies, bytes.Clone(e.Key))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if end.Head != last {
			t.Fatalf("the last entry scanned is %v, and the end %v", last, end.Head)
		}
		for i := range keys { // the caller may keep the keys
			if !bytes.Equal(keys[i], copies[i]) {
				t.Fatal("a key changed after its batch")
			}
		}
	}
	stop()
}

func (s suite) scanStops(t *testing.T) {
	l := s.fresh(t, 1)[0]
	head := fill(t, l, log.Head{}, 2000, 500)
	ended := errors.New("enough")
	calls := 0
	_, err := l.Scan(testContext(t), 0, func([]log.Entry) error { calls++; return ended })
	if !errors.Is(err, ended) || calls != 1 {
		t.Errorf("Scan: %v after %d calls, want the function's own error after 1", err, calls)
	}
	ctx, cancel := context.WithCancel(testContext(t))
	_, err = l.Scan(ctx, 0, func([]log.Entry) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Scan: %v, want the context's error", err)
	}
	var first log.Position
	end, err := l.Scan(testContext(t), 1990, func(batch []log.Entry) error {
		if first == 0 {
			first = batch[0].Position
		}
		return nil
	})
	if err != nil || first != 1991 || end.Head != head {
		t.Errorf("Scan after 1990 begins at %d, ends at %v, %v", first, end.Head, err)
	}
}

func (s suite) values(t *testing.T) {
	logs := s.fresh(t, 2)
	ctx := testContext(t)
	const n = 6000
	entries := puts(2, n)
	for i := range entries {
		entries[i].Value = []byte{byte(i), byte(i >> 8), byte(i >> 16)}
	}
	head := mustAppend(t, logs[0], log.Head{}, entries)
	var deleted []log.Position
	for p := log.Position(7); p < n; p += 7 {
		deleted = append(deleted, p)
	}
	if err := logs[0].Delete(ctx, log.Head{}, deleted, 3000); err != nil {
		t.Fatal(err)
	}
	// Positions in any order: repeated, deleted, or not written yet.
	positions := []log.Position{0, n + 1, 1 << 50, -1, 7, 7, 8, 8}
	for range n {
		positions = append(positions, 1+rand.N[log.Position](n))
	}
	v, err := logs[1].Values(ctx, positions)
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Values) != len(positions) || len(v.Found) != len(positions) || len(v.IDs) != len(positions) {
		t.Fatalf("%d values, %d found and %d IDs, want %d", len(v.Values), len(v.Found), len(v.IDs), len(positions))
	}
	if v.End.Head != head || v.End.Floor != 3000 || v.End.ClusterID == 0 {
		t.Errorf("end is %+v, want %v and floor 3000", v.End, head)
	}
	for i, p := range positions {
		want := p >= 1 && p <= n && (p%7 != 0 || p >= n)
		if v.Found[i] != want {
			t.Fatalf("position %d: found %v, want %v", p, v.Found[i], want)
		}
		if want && (!bytes.Equal(v.Values[i], entries[p-1].Value) || v.IDs[i] != head.ID) {
			t.Fatalf("position %d has value %v of append %x, want %v of %x", p, v.Values[i], uint64(v.IDs[i]),
				entries[p-1].Value, uint64(head.ID))
		}
		if !want && v.Values[i] != nil {
			t.Fatalf("position %d has a value and no row", p)
		}
	}
}

// endSeesOtherAppends checks linearizability: an End that begins after another replica's append returned must include
// it.
func (s suite) endSeesOtherAppends(t *testing.T) {
	logs := s.fresh(t, 2)
	ctx := testContext(t)
	var acknowledged atomic.Int64
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		defer close(done)
		head := log.Head{}
		for range 150 {
			id := newID()
			if err := logs[0].Append(ctx, head, id, puts(2, 2)); err != nil {
				t.Errorf("Append: %v", err)
				return
			}
			head = log.Head{Position: head.Position + 2, ID: id}
			acknowledged.Store(int64(head.Position))
		}
	})
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		before := acknowledged.Load()
		end, err := logs[1].End(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if int64(end.Position) < before || end.Position%2 != 0 {
			t.Fatalf("the end is %v after %d was acknowledged", end.Head, before)
		}
	}
	wg.Wait()
}
