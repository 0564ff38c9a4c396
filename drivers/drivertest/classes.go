package drivertest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// busyCalls is larger than any driver's number of connections.
const busyCalls = 40

// busyLeavesRoom occupies all connections for bulk reads by scans that do not continue. Reads of the end and appends
// must still be answered, and calls that wait for a connection must end with their context.
func (s suite) busyLeavesRoom(t *testing.T) {
	l := s.fresh(t, 1)[0]
	ctx := testContext(t)
	head := mustAppend(t, l, log.Head{}, puts(2, 10))
	goOn := make(chan struct{})
	var scans sync.WaitGroup
	defer scans.Wait()
	stop := sync.OnceFunc(func() { close(goOn) })
	defer stop()
	begun := make(chan struct{}, busyCalls)
	for range busyCalls {
		scans.Go(func() {
			rows := 0
			_, err := l.Scan(ctx, 0, func(batch []log.Entry) error {
				rows += len(batch)
				begun <- struct{}{}
				<-goOn
				return nil
			})
			if err != nil || rows < 10 {
				t.Errorf("a scan of %d rows: %v", rows, err)
			}
		})
	}
	<-begun
	s.busy(ctx, t, l)

	// None of these may wait for a scan, because the scans do not end.
	short, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if end, err := l.End(short); err != nil || end.Head != head {
		t.Fatalf("End is %v: %v", end.Head, err)
	}
	if entries, _, err := l.Read(short, 0, 100); err != nil || len(entries) != 10 {
		t.Fatalf("Read of %d entries: %v", len(entries), err)
	}
	id := newID()
	if err := l.Append(short, head, id, puts(3, 1)); err != nil {
		t.Fatalf("Append: %v", err)
	}
	if err := l.Confirm(short, log.Head{Position: head.Position + 1, ID: id}); err != nil {
		t.Fatalf("Confirm: %v", err)
	}
	if registry, ok := l.(log.Registry); ok {
		if _, err := registry.Register(short, log.Replica{ID: 7, Name: "busy"}); err != nil {
			t.Fatalf("Register: %v", err)
		}
	}
	stop()
	scans.Wait()
	if v, err := l.Values(ctx, []log.Position{1}); err != nil || !v.Found[0] {
		t.Errorf("Values afterwards: %v", err)
	}
}

// busy waits until a call of Values finds no connection and ends with its context.
func (s suite) busy(ctx context.Context, t *testing.T, l log.Log) {
	t.Helper()
	for ctx.Err() == nil {
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		start := time.Now()
		_, err := l.Values(short, []log.Position{1})
		cancel()
		switch took := time.Since(start); {
		case err == nil:
		case !errors.Is(err, context.DeadlineExceeded):
			t.Fatalf("Values without a connection: %v", err)
		case took > 10*time.Second:
			t.Fatalf("Values without a connection ended after %v", took)
		default:
			return
		}
	}
	t.Fatal("there are always connections")
}
