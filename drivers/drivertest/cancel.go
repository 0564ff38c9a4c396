package drivertest

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

func (s suite) canceledAppendWritesNothing(t *testing.T) {
	l := s.fresh(t, 1)[0]
	head := mustAppend(t, l, log.Head{}, puts(2, 1))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.Append(ctx, head, newID(), puts(3, 1)); !errors.Is(err, context.Canceled) ||
		errors.Is(err, log.ErrUnknown) {
		t.Errorf("Append: %v, want the context's error and a definite failure", err)
	}
	if _, err := l.End(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("End: %v", err)
	}
	if _, _, err := l.Read(ctx, 0, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("Read: %v", err)
	}
	if _, err := l.Scan(ctx, 0, func([]log.Entry) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Scan: %v", err)
	}
	if _, err := l.Values(ctx, []log.Position{1}); !errors.Is(err, context.Canceled) {
		t.Errorf("Values: %v", err)
	}
	if err := l.Delete(ctx, log.Head{}, []log.Position{1}, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("Delete: %v", err)
	}
	if _, err := l.Size(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Size: %v", err)
	}
	if err := l.Defragment(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Defragment: %v", err)
	}
	if end := mustEnd(t, l); end.Head != head || end.Floor != 0 {
		t.Errorf("end is %v with floor %d, want %v and 0", end.Head, end.Floor, head)
	}
	mustAppend(t, l, head, puts(3, 1))
}

// canceledAnywhere cancels appends at random moments. The result of Append must match what happened.
func (s suite) canceledAnywhere(t *testing.T) {
	logs := s.fresh(t, 2)
	ctx := testContext(t)
	start := time.Now()
	head := mustAppend(t, logs[0], log.Head{}, puts(2, cancelRows))
	usual := time.Since(start)
	outcomes := map[string]int{}
	for n := range 30 {
		id := newID()
		short, cancel := context.WithTimeout(ctx, rand.N(2*usual))
		err := logs[0].Append(short, head, id, puts(log.Revision(n+3), cancelRows))
		cancel()
		end := mustEnd(t, logs[1])
		moved := end.Head == log.Head{Position: head.Position + cancelRows, ID: id}
		switch {
		case err == nil && moved:
			outcomes["done"]++
		case errors.Is(err, log.ErrUnknown):
			// The entry after head decides the outcome. If there is one, it is from this append.
			outcomes["unknown"]++
			if !moved {
				err := logs[0].Append(ctx, head, id, puts(log.Revision(n+3), cancelRows))
				if moved = err == nil || errors.Is(err, log.ErrConflict); !moved {
					t.Fatalf("append %d again: %v", n, err)
				}
			}
		case err != nil && end.Head == head:
			outcomes["failed"]++
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("append %d: %v", n, err)
			}
		default:
			t.Fatalf("append %d: %v, and the end is %v, was %v", n, err, end.Head, head)
		}
		if moved {
			head = log.Head{Position: head.Position + cancelRows, ID: id}
		}
	}
	t.Logf("an append takes %v; 30 appends with up to twice the time: %v", usual.Round(10*time.Microsecond), outcomes)
	if got := readAll(t, logs[1], 0); len(got) != int(head.Position) {
		t.Errorf("%d entries, want %d", len(got), head.Position)
	}
}
