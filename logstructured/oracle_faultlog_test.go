package logstructured_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// faultyLog is a real log between which and the store anything can go wrong. Without faults it only counts.
type faultyLog struct {
	log.Log
	faults atomic.Pointer[faults]
	// late counts the appends that continue after the store got an answer.
	late sync.WaitGroup

	appends, appended atomic.Int64
}

// faults are called before the real operation; nil is no fault. An error is returned in its place.
type faults struct {
	end, read, values, remove, confirm func(context.Context) error
	// afterEnd is called between the answer of End and its return to the store.
	afterEnd func()
	// append decides by itself whether, and when, the real append happens.
	append func(context.Context, *realAppend) error
}

func newFaultyLog(inner log.Log) *faultyLog {
	l := &faultyLog{Log: inner}
	l.heal()
	return l
}

func (l *faultyLog) heal()           { l.faults.Store(&faults{}) }
func (l *faultyLog) fail(f faults)   { l.faults.Store(&f) }
func (l *faultyLog) failAll(e error) { l.fail(failing(e)) }

// failing fails everything with err, appends before they reach the database.
func failing(err error) faults {
	always := func(context.Context) error { return err }
	return faults{end: always, read: always, values: always, remove: always, confirm: always,
		append: func(context.Context, *realAppend) error { return err }}
}

func check(ctx context.Context, fault func(context.Context) error) error {
	if fault == nil {
		return nil
	}
	return fault(ctx)
}

func (l *faultyLog) End(ctx context.Context) (log.End, error) {
	f := l.faults.Load()
	if err := check(ctx, f.end); err != nil {
		return log.End{}, err
	}
	end, err := l.Log.End(ctx)
	if f.afterEnd != nil {
		f.afterEnd()
	}
	return end, err
}

func (l *faultyLog) Append(ctx context.Context, head log.Head, id log.AppendID, entries []log.Entry) error {
	l.appends.Add(1)
	a := &realAppend{log: l, head: head, id: id, entries: entries}
	if fault := l.faults.Load().append; fault != nil {
		return fault(ctx, a)
	}
	return a.now(ctx)
}

// realAppend is an append on its way to the database.
type realAppend struct {
	log     *faultyLog
	head    log.Head
	id      log.AppendID
	entries []log.Entry
}

func (a *realAppend) now(ctx context.Context) error {
	err := a.log.Log.Append(ctx, a.head, a.id, a.entries)
	if err == nil {
		a.log.appended.Add(1)
	}
	return err
}

// later appends after a delay, as a statement does whose connection died. The entries are copied: the store may use its
// own again once Append has returned.
func (a *realAppend) later(delay time.Duration) {
	mine := *a
	mine.entries = append([]log.Entry(nil), a.entries...)
	a.log.late.Go(func() {
		elapse(delay)
		_ = mine.now(context.Background()) // the guard may have failed by now
	})
}

func (l *faultyLog) Confirm(ctx context.Context, head log.Head) error {
	if err := check(ctx, l.faults.Load().confirm); err != nil {
		return err
	}
	return l.Log.Confirm(ctx, head)
}

func (l *faultyLog) Read(ctx context.Context, after log.Position, limit int) ([]log.Entry, log.End, error) {
	if err := check(ctx, l.faults.Load().read); err != nil {
		return nil, log.End{}, err
	}
	return l.Log.Read(ctx, after, limit)
}

func (l *faultyLog) Values(ctx context.Context, positions []log.Position) (log.Values, error) {
	if err := check(ctx, l.faults.Load().values); err != nil {
		return log.Values{}, err
	}
	return l.Log.Values(ctx, positions)
}

func (l *faultyLog) Delete(ctx context.Context, guard log.Head, positions []log.Position, floor log.Position) error {
	if err := check(ctx, l.faults.Load().remove); err != nil {
		return err
	}
	return l.Log.Delete(ctx, guard, positions, floor)
}

// Close waits for late appends: they are the database's business, and end before it does.
func (l *faultyLog) Close() error {
	l.late.Wait()
	return l.Log.Close()
}

// holdUp blocks the append of a put, so that later requests queue, until release is called.
func holdUp(t testing.TB, l *faultyLog, store *replica) (release func()) {
	t.Helper()
	gate, held := make(chan struct{}), make(chan struct{})
	var once sync.Once
	l.fail(faults{append: func(ctx context.Context, a *realAppend) error {
		once.Do(func() { close(held); <-gate })
		return a.now(ctx)
	}})
	var put sync.WaitGroup
	put.Go(func() { store.mustPut(t, "holds up", "") })
	<-held
	return func() {
		close(gate)
		put.Wait()
	}
}
