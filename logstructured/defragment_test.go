package logstructured_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stele-db/stele/drivers/memory"
	ls "github.com/stele-db/stele/logstructured"
)

// heldDefragment is a log whose Defragment tells entered and waits for release.
type heldDefragment struct {
	*memory.Log
	entered, release chan struct{}
}

func (l heldDefragment) Defragment(context.Context) error {
	l.entered <- struct{}{}
	<-l.release
	return nil
}

// TestDefragmentRunsOneAtATime sends many requests to defragment. They use one connection together.
func TestDefragmentRunsOneAtATime(t *testing.T) {
	t.Parallel()
	log := heldDefragment{new(memory.Database).Open(), make(chan struct{}, 2), make(chan struct{})}
	r := startStore(t, log, ls.Options{})
	done := make(chan error, 2)
	for range 2 {
		go func() { done <- r.Defragment(testContext(t), ls.Unguarded) }()
	}
	<-log.entered
	gone, cancel := context.WithCancel(testContext(t))
	cancel()
	if err := r.Defragment(gone, ls.Unguarded); !errors.Is(err, context.Canceled) {
		t.Errorf("a client that has gone: %v", err)
	}
	if len(log.entered) > 0 {
		t.Error("two run at the same time")
	}
	log.release <- struct{}{}
	<-log.entered
	log.release <- struct{}{}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
