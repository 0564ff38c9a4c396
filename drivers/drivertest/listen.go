package drivertest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// subscription is a Listen call in progress.
type subscription struct {
	woken  chan struct{}
	ended  chan error
	cancel context.CancelFunc
}

// subscribe returns when the subscription is active, and ends it at the end of the test.
func subscribe(t *testing.T, l log.Log) subscription {
	t.Helper()
	n, ok := l.(log.Notifier)
	if !ok {
		t.Fatalf("%T is no Notifier", l)
	}
	ctx, cancel := context.WithCancel(testContext(t))
	s := subscription{make(chan struct{}, 10_000), make(chan error, 1), cancel}
	go func() { s.ended <- n.Listen(ctx, func() { s.woken <- struct{}{} }) }()
	t.Cleanup(cancel)
	s.awaitWake(t, 10*time.Second)
	return s
}

func (s subscription) awaitWake(t *testing.T, limit time.Duration) {
	t.Helper()
	select {
	case <-s.woken:
	case err := <-s.ended:
		t.Fatalf("Listen returned: %v", err)
	case <-time.After(limit):
		t.Fatalf("no wake-up within %v", limit)
	}
}

func (s subscription) awaitEnd(t *testing.T) error {
	t.Helper()
	select {
	case err := <-s.ended:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("Listen did not return")
		return nil
	}
}

func (s suite) listen(t *testing.T) {
	logs := s.fresh(t, 3)
	one, two := subscribe(t, logs[1]), subscribe(t, logs[2])
	var head log.Head
	var took []time.Duration
	for range 50 {
		start := time.Now()
		head = mustAppend(t, logs[0], head, puts(2, 3))
		one.awaitWake(t, time.Second)
		took = append(took, time.Since(start))
		two.awaitWake(t, time.Second)
	}
	slices.Sort(took)
	t.Logf("from the start of an append to the wake-up: median %v, longest %v", took[25].Round(time.Microsecond),
		took[49].Round(time.Microsecond))
}

// listenIgnoresOwn appends on the log that listens. That must not wake the listener, nor make it miss later appends.
func (s suite) listenIgnoresOwn(t *testing.T) {
	const own = 50
	logs := s.fresh(t, 2)
	sub := subscribe(t, logs[1])
	head := fill(t, logs[1], log.Head{}, own, 1)
	mustAppend(t, logs[0], head, puts(2, 1))
	sub.awaitWake(t, time.Second)
	// Notifications arrive in the order of the appends.
	if more := len(sub.woken); more > own/10 {
		t.Errorf("%d own appends and one of another woke %d times", own, more+1)
	}
}

// listenEnds ends subscriptions by their context and by Close.
func (s suite) listenEnds(t *testing.T) {
	open := s.New(t)
	l := opened(t, open)
	sub := subscribe(t, l)
	sub.cancel()
	_ = sub.awaitEnd(t)
	closing := open(t)
	sub = subscribe(t, closing)
	if err := closing.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	_ = sub.awaitEnd(t)
}

// listenReportsLostConnection cuts the connection of a subscription, which must end. The next subscription must work.
func (s suite) listenReportsLostConnection(t *testing.T) {
	through, direct, p := s.Through(t)
	l, other := opened(t, through), opened(t, direct)
	sub := subscribe(t, l)
	p.Cut(proxyReset)
	if err := sub.awaitEnd(t); err == nil {
		t.Error("Listen returned nil when its connection was lost")
	}
	sub = subscribe(t, l)
	mustAppend(t, other, log.Head{}, puts(2, 1))
	sub.awaitWake(t, time.Second)
}
