package drivertest

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// upTo returns the positions from first to last.
func upTo(first, last log.Position) []log.Position {
	positions := make([]log.Position, 0, last-first+1)
	for p := first; p <= last; p++ {
		positions = append(positions, p)
	}
	return positions
}

func (s suite) deleteKeepsNewest(t *testing.T) {
	logs := s.fresh(t, 2)
	ctx := testContext(t)
	head := fill(t, logs[0], log.Head{}, 500, 100)
	// Delete everything: unsorted, with repeated positions and positions that never existed.
	positions := append(upTo(1, head.Position), 1, 2, 10_000, 0, -3)
	slices.Reverse(positions)
	before := slices.Clone(positions)
	if err := logs[1].Delete(ctx, log.Head{}, positions, 400); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(positions, before) {
		t.Error("Delete changed its argument")
	}
	for _, l := range logs {
		entries, end, err := l.Read(ctx, 0, 1000)
		if err != nil || len(entries) != 1 || entries[0].Position != head.Position || entries[0].ID != head.ID ||
			end.Head != head || end.Floor != 400 {
			t.Fatalf("Read: %d entries, end %+v, %v; want the newest row and floor 400", len(entries), end, err)
		}
	}
	// The log continues after its head.
	next := mustAppend(t, logs[0], head, puts(9, 2))
	if next.Position != head.Position+2 {
		t.Fatalf("head is %v", next)
	}
	if err := logs[0].Delete(ctx, log.Head{}, upTo(head.Position, head.Position), 501); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, logs[1], 0); len(got) != 2 || got[0].Position != 501 {
		t.Errorf("%d entries, want those of positions 501 and 502", len(got))
	}
}

func (s suite) floorOnlyRises(t *testing.T) {
	logs := s.fresh(t, 2)
	ctx := testContext(t)
	fill(t, logs[0], log.Head{}, 100, 100)
	for _, test := range []struct{ floor, want log.Position }{{10, 10}, {5, 10}, {10, 10}, {0, 10}, {60, 60},
		{59, 60}} {
		if err := logs[0].Delete(ctx, log.Head{}, nil, test.floor); err != nil {
			t.Fatal(err)
		}
		if end := mustEnd(t, logs[1]); end.Floor != test.want {
			t.Errorf("floor is %d after Delete with %d, want %d", end.Floor, test.floor, test.want)
		}
	}
}

// floorComesBeforeHoles reads while rows are deleted. A reader that finds a hole must find a higher floor in the same
// snapshot, and no lower row of the same Delete.
func (s suite) floorComesBeforeHoles(t *testing.T) {
	logs := s.fresh(t, 2)
	ctx := testContext(t)
	const n, block = holeRows, holeRows / 3 // so large that a Delete takes several transactions
	fill(t, logs[0], log.Head{}, n, n/6)
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		defer close(done)
		for first := log.Position(1); first < n; first += block {
			positions := upTo(first, first+block-10)
			rand.Shuffle(len(positions), func(i, j int) { positions[i], positions[j] = positions[j], positions[i] })
			if err := logs[0].Delete(ctx, log.Head{}, positions, first+block-10); err != nil {
				t.Errorf("Delete: %v", err)
				return
			}
		}
	})
	defer wg.Wait()
	// check receives the deleted positions in order.
	check := func(what string, deleted []log.Position, end log.End) {
		t.Helper()
		for i, p := range deleted {
			if p > end.Floor {
				t.Fatalf("%s: the row at %d is gone, and the floor is %d", what, p, end.Floor)
			}
			if first := (p-1)/block*block + 1; p > first && (i == 0 || deleted[i-1] != p-1) {
				t.Fatalf("%s: the row at %d is deleted, and that at %d is still there", what, p, p-1)
			}
		}
	}
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		entries, end, err := logs[1].Read(ctx, 0, n)
		if err != nil {
			t.Fatal(err)
		}
		var deleted []log.Position
		next := log.Position(1)
		look := func(batch []log.Entry) error {
			for _, e := range batch {
				for ; next < e.Position; next++ {
					deleted = append(deleted, next)
				}
				next = e.Position + 1
			}
			return nil
		}
		_ = look(entries)
		check("Read", deleted, end)
		deleted = nil
		v, err := logs[1].Values(ctx, upTo(1, n))
		if err != nil {
			t.Fatal(err)
		}
		for i, found := range v.Found {
			if !found {
				deleted = append(deleted, log.Position(i+1))
			}
		}
		check("Values", deleted, v.End)
		deleted, next = nil, 1
		if end, err = logs[1].Scan(ctx, 0, look); err != nil {
			t.Fatal(err)
		}
		check("Scan", deleted, end)
	}
}

// appendsDuringDelete appends on two replicas while one of them deletes many rows.
func (s suite) appendsDuringDelete(t *testing.T) {
	s.except(t, AppendsDuringDelete)
	logs := s.fresh(t, 2)
	ctx := testContext(t)
	head := fill(t, logs[0], log.Head{}, deleteRows, 1000)
	last := head.Position
	done := make(chan struct{})
	var wg sync.WaitGroup
	var took time.Duration
	wg.Go(func() {
		defer close(done)
		start := time.Now()
		if err := logs[0].Delete(ctx, log.Head{}, upTo(1, last), last); err != nil {
			t.Errorf("Delete: %v", err)
		}
		took = time.Since(start)
		t.Logf("deleting %d rows took %v", deleteRows, took.Round(time.Millisecond))
	})
	var longest [2]time.Duration
	appended := [2]int{}
	for i, running := 0, true; running; i = 1 - i {
		select {
		case <-done:
			running = false
		default:
		}
		short, cancel := context.WithTimeout(ctx, 5*time.Second)
		id := newID()
		start := time.Now()
		err := logs[i].Append(short, head, id, puts(3, 1))
		cancel()
		if err != nil {
			t.Fatalf("Append on replica %d during Delete: %v", i, err)
		}
		longest[i] = max(longest[i], time.Since(start))
		appended[i]++
		head = log.Head{Position: head.Position + 1, ID: id}
	}
	wg.Wait()
	t.Logf("meanwhile appends on the deleting and the other replica: %v, the longest %v", appended, longest)
	// An append may take 100 ms for its sync, and a small Delete takes less.
	if want := int(min(took/(400*time.Millisecond), 5)); appended[0] < want || appended[1] < want {
		t.Errorf("appends hardly got through: %v in %v", appended, took)
	}
	if got := readAll(t, logs[1], deleteRows); len(got) != appended[0]+appended[1] {
		t.Errorf("%d entries, want %d", len(got), appended[0]+appended[1])
	}
}

func (s suite) defragmentGivesSpaceBack(t *testing.T) {
	logs := s.fresh(t, 2)
	ctx := testContext(t)
	entries := puts(2, 500)
	for i := range entries {
		entries[i].Value = make([]byte, 20_000)
	}
	head := mustAppend(t, logs[0], log.Head{}, entries)
	head = mustAppend(t, logs[0], head, puts(3, 1))
	full, err := logs[1].Size(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, excused := s.Exceptions[Sized]; !excused && (full.Total < 500*20_000 || full.InUse > full.Total ||
		full.InUse < 500*20_000) {
		t.Errorf("size of 10 MB of values is %+v", full)
	}
	if err := logs[0].Delete(ctx, log.Head{}, upTo(1, head.Position), head.Position); err != nil {
		t.Fatal(err)
	}
	if err := logs[0].Defragment(ctx); err != nil {
		t.Fatal(err)
	}
	s.except(t, SpaceReturned)
	// PostgreSQL keeps deleted rows while a writing transaction in any database of the server is older than the
	// deletion, and other tests append for seconds.
	var empty log.Size
	for deadline := time.Now().Add(time.Minute); ; {
		if empty, err = logs[1].Size(ctx); err != nil {
			t.Fatal(err)
		}
		if empty.Total <= full.Total/10 || time.Now().After(deadline) {
			break
		}
		if err := logs[0].Defragment(ctx); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("size with 10 MB of values %+v, deleted and defragmented %+v", full, empty)
	if empty.Total > full.Total/10 || empty.InUse > empty.Total {
		t.Errorf("size is %+v, was %+v", empty, full)
	}
	if end := mustEnd(t, logs[1]); end.Head != head {
		t.Errorf("end is %v, want %v", end.Head, head)
	}
	head = mustAppend(t, logs[1], head, puts(4, 10))
	mustAppend(t, logs[0], head, puts(5, 10))
	if got := readAll(t, logs[0], 0); len(got) != 21 {
		t.Errorf("%d entries, want 21", len(got))
	}
}

func (s suite) reopen(t *testing.T) {
	open := s.New(t)
	ctx := testContext(t)
	l := open(t)
	clusterID := mustEnd(t, l).ClusterID
	entries := puts(2, 150)
	head := mustAppend(t, l, log.Head{}, entries)
	if err := l.Delete(ctx, log.Head{}, upTo(1, 10), 40); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	for range 3 {
		l := open(t)
		end := mustEnd(t, l)
		if end.Head != head || end.Floor != 40 || end.ClusterID != clusterID {
			t.Errorf("end after reopening is %+v, want %v, floor 40, cluster %x", end, head, clusterID)
		}
		if got := readAll(t, l, 0); !slices.EqualFunc(got, entries[10:], sameEntry) {
			t.Errorf("Read after reopening returns something else")
		}
		more := puts(3, 2)
		head = mustAppend(t, l, head, more)
		entries = append(entries, more...)
		if err := l.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
	if other := mustEnd(t, opened(t, s.New(t))); other.ClusterID == clusterID {
		t.Error("two databases have the same cluster ID")
	}
}

// callsAfterCloseFail closes a log during calls. They must end, and later ones must fail at once.
func (s suite) callsAfterCloseFail(t *testing.T) {
	open := s.New(t)
	keep := opened(t, open)
	l := open(t)
	ctx := testContext(t)
	head := fill(t, l, log.Head{}, 2000, 500)
	calls := map[string]func() error{
		"End":        func() error { _, err := l.End(ctx); return err },
		"Append":     func() error { return l.Append(ctx, log.Head{Position: 1 << 40, ID: 1}, 2, puts(2, 1)) },
		"Read":       func() error { _, _, err := l.Read(ctx, 0, 100); return err },
		"Scan":       func() error { _, err := l.Scan(ctx, 0, func([]log.Entry) error { return nil }); return err },
		"Values":     func() error { _, err := l.Values(ctx, upTo(1, 100)); return err },
		"Delete":     func() error { return l.Delete(ctx, log.Head{}, []log.Position{1}, 0) },
		"Size":       func() error { _, err := l.Size(ctx); return err },
		"Defragment": func() error { return l.Defragment(ctx) },
	}
	var wg sync.WaitGroup
	started := make(chan struct{}, len(calls))
	for name, call := range calls {
		wg.Go(func() { // calls until an error shows that the log is closed
			for n := 0; ; n++ {
				err := call()
				if n == 0 {
					started <- struct{}{}
				}
				if err != nil && !errors.Is(err, log.ErrConflict) {
					if ctx.Err() != nil {
						t.Errorf("%s does not notice Close: %v", name, err)
					}
					return
				}
			}
		})
	}
	for range calls {
		<-started
	}
	if err := l.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	wg.Wait()
	for name, call := range calls {
		if err := call(); err == nil || ctx.Err() != nil {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
	if end := mustEnd(t, keep); end.Head != head {
		t.Errorf("end is %v, want %v", end.Head, head)
	}
}

// clock checks that Now and the times of entries come from one clock that neither runs backwards nor jumps.
func (s suite) clock(t *testing.T) {
	logs := s.fresh(t, 2)
	first := mustEnd(t, logs[0])
	if first.Now < 1_600_000_000_000 || first.Now > 16_000_000_000_000 {
		t.Fatalf("now is %d: not milliseconds since 1970", first.Now)
	}
	head, last := log.Head{}, first.Now
	for i := range 20 {
		entries := puts(2, 2)
		head = mustAppend(t, logs[i%2], head, entries)
		now := mustEnd(t, logs[1-i%2]).Now
		// Tolerate a few milliseconds backwards, because the machine's clock may be adjusted.
		if entries[0].Time < last-20 || now < entries[0].Time-20 {
			t.Fatalf("an append at %d after %d and before %d", entries[0].Time, last, now)
		}
		last = now
	}
	if last-first.Now > 60_000 {
		t.Errorf("the clock went from %d to %d during the test", first.Now, last)
	}
}
