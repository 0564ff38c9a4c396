package lifetime

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestCloseEndsCalls(t *testing.T) {
	var calls Calls
	ctx, done, err := calls.Begin(t.Context())
	if err != nil || Ended(ctx) != nil {
		t.Fatalf("Begin: %v, %v", err, Ended(ctx))
	}
	ended := make(chan error, 1)
	go func() {
		defer done()
		<-ctx.Done()
		ended <- Because(ctx, errors.New("connection lost"))
	}()
	if !calls.Close() {
		t.Error("the first Close was not the first")
	}
	if err := <-ended; !errors.Is(err, ErrClosed) {
		t.Errorf("a call that Close ended returns %v", err)
	}
	if calls.Close() {
		t.Error("the second Close was the first")
	}
	if _, _, err := calls.Begin(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Begin after Close: %v", err)
	}
}

func TestEndedNamesTheCallersError(t *testing.T) {
	var calls Calls
	caller, cancel := context.WithCancelCause(t.Context())
	ctx, done, err := calls.Begin(caller)
	if err != nil {
		t.Fatal(err)
	}
	cancel(errors.New("a cause of the caller's"))
	if err := Ended(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("the caller canceled: %v", err)
	}
	done()
	if _, _, err := calls.Begin(caller); !errors.Is(err, context.Canceled) {
		t.Errorf("Begin with an ended context: %v", err)
	}
	past, cancelPast := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancelPast()
	if err := Because(past, errors.New("i/o timeout")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after the deadline: %v", err)
	}
	if Because(past, nil) != nil {
		t.Error("no error became one")
	}
}
