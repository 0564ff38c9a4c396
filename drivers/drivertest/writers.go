package drivertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// outcome is the result of an append as its caller sees it.
type outcome int

const (
	acknowledged outcome = iota
	conflict
	unknown
	failed
	outcomes
)

func outcomeOf(err error) outcome {
	switch {
	case err == nil:
		return acknowledged
	case errors.Is(err, log.ErrConflict):
		return conflict
	case errors.Is(err, log.ErrUnknown):
		return unknown
	}
	return failed
}

// attempt is an append that has returned.
type attempt struct {
	writer  int
	after   log.Head
	rows    int
	outcome outcome
	err     error
}

// ledger holds all attempted appends by ID.
type ledger struct {
	mu       sync.Mutex
	attempts map[log.AppendID]attempt
}

func (l *ledger) note(id log.AppendID, a attempt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.attempts[id] = a
}

// check compares the whole log with the results that the writers received, and logs a table of them.
func (l *ledger) check(t *testing.T, writers int, entries []log.Entry) (sum [outcomes]int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	counts := make([][outcomes]int, writers)
	for _, a := range l.attempts {
		counts[a.writer][a.outcome]++
	}
	seen := map[log.AppendID]int{}
	var late, lost, wrong, doubled int
	for i := 0; i < len(entries); {
		e := entries[i]
		a, known := l.attempts[e.ID]
		if e.Position != log.Position(i+1) || !known || i+a.rows > len(entries) {
			t.Fatalf("row %d stands at position %d with ID %x (tried: %v, %d rows)", i+1, e.Position, uint64(e.ID),
				known, a.rows)
		}
		for n := range a.rows {
			if got := entries[i+n]; got.ID != e.ID || got.Sub != int64(n) ||
				got.Position != e.Position+log.Position(n) {
				t.Fatalf("row %d of append %x is %+v", n, uint64(e.ID), got)
			}
		}
		if seen[e.ID]++; seen[e.ID] > 1 {
			doubled++
		}
		switch {
		case a.after.Position != e.Position-1:
			t.Errorf("append %x was tried after %v and stands at %d", uint64(e.ID), a.after, e.Position)
		case a.outcome == unknown:
			late++
		case a.outcome != acknowledged:
			wrong++
			t.Errorf("append %x is in the log, and its writer got: %v", uint64(e.ID), a.err)
		}
		i += a.rows
	}
	for id, a := range l.attempts {
		if a.outcome == acknowledged && seen[id] == 0 {
			lost++
			t.Errorf("append %x was acknowledged and is lost", uint64(id))
		}
	}
	var table strings.Builder
	fmt.Fprintf(&table, "%-8s%10s%14s%11s%9s%8s\n", "writer", "tried", "acknowledged", "conflicts", "unknown", "failed")
	row := func(name string, n [outcomes]int) {
		fmt.Fprintf(&table, "%-8s%10d%14d%11d%9d%8d\n", name, n[0]+n[1]+n[2]+n[3], n[acknowledged], n[conflict],
			n[unknown], n[failed])
	}
	for writer, n := range counts {
		for o := range n {
			sum[o] += n[o]
		}
		row(fmt.Sprint(writer+1), n)
	}
	row("all", sum)
	t.Logf("outcomes of the appends, by writer\n%sthe log has %d appends in %d rows; of the unknown ones it "+
		"has %d; acknowledged and lost: %d, doubled: %d, in the log though refused: %d",
		&table, len(seen), len(entries), late, lost, doubled, wrong)
	if doubled > 0 {
		t.Errorf("%d appends are in the log twice", doubled)
	}
	return sum
}

// write appends as one of the writers until enough returns true, and then until one more append is acknowledged. It
// calls End whenever it does not know the head, and does not retry an append that failed or is unknown.
func (l *ledger) write(
	ctx context.Context, t *testing.T, writer int, target log.Log, enough func(done int) bool, patience time.Duration,
) {
	var head log.Head
	known := false
	for done, last := 0, false; !last; {
		if ctx.Err() != nil {
			t.Errorf("writer %d: %d appends are acknowledged: %v", writer+1, done, ctx.Err())
			return
		}
		finish := enough(done)
		short, cancel := context.WithTimeout(ctx, patience)
		if !known {
			end, err := target.End(short)
			head, known = end.Head, err == nil
			if err != nil {
				cancel()
				continue
			}
		}
		id, rows := newID(), 1+rand.IntN(20)
		err := target.Append(short, head, id, puts(2, rows))
		cancel()
		a := attempt{writer: writer, after: head, rows: rows, outcome: outcomeOf(err), err: err}
		l.note(id, a)
		if known = a.outcome == acknowledged; known {
			head = log.Head{Position: head.Position + log.Position(rows), ID: id}
			done++
			last = finish
		}
	}
}

// writersRace makes writers on separate logs append concurrently.
func (s suite) writersRace(t *testing.T) {
	const writers, appends = 8, 40
	logs := s.fresh(t, writers)
	ctx := testContext(t)
	l := ledger{attempts: map[log.AppendID]attempt{}}
	var wg sync.WaitGroup
	for writer, target := range logs {
		wg.Go(func() { l.write(ctx, t, writer, target, func(done int) bool { return done >= appends-1 }, time.Minute) })
	}
	wg.Wait()
	l.check(t, writers, readAll(t, logs[0], 0))
}
