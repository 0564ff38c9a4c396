package logstructured

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stele-db/stele/logstructured/log"
)

// Run appends, follows, expires and compacts until ctx ends. Then it finishes the append in progress, ends all requests
// and watch streams with [ErrStopped], closes the log and returns. It does not return because the database fails,
// unless the database reports [log.ErrSyncFailed].
func (s *Store) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.writer.run(ctx) })
	g.Go(func() error { return s.hub.run(ctx) })
	g.Go(func() error { return s.reads.run(ctx) })
	g.Go(func() error { return s.timeouts.run(ctx) })
	g.Go(func() error { return s.deleteRows(ctx) })
	if s.quota.bytes > 0 {
		g.Go(func() error { return s.quota.run(ctx) })
	}
	if s.opts.MaxIndexBytes > 0 {
		g.Go(func() error { return s.watchIndex(ctx) })
	}
	if s.notifier != nil {
		g.Go(func() error { return s.listen(ctx) })
	}
	if s.members.registered() {
		g.Go(func() error { return s.members.run(ctx) })
	}
	err := g.Wait()
	s.timeouts.stop()
	s.hub.stop()
	if closeErr := s.log.Close(); err == nil || !errors.Is(closeErr, log.ErrSyncFailed) { // otherwise err reports it
		err = errors.Join(err, closeErr)
	}
	return err
}

// listen wakes the writer when the database sends a notification.
func (s *Store) listen(ctx context.Context) error {
	for failures := 0; ctx.Err() == nil; failures++ {
		err := s.notifier.Listen(ctx, func() {
			failures = 0
			s.notified.Store(true)
			s.wakeFollower()
		})
		s.notified.Store(false)
		if err != nil && ctx.Err() == nil {
			s.logger.WithError(err).Debug("no notifications from the database; polling until there are")
		}
		pause(ctx, backoff(failures))
	}
	return nil
}

// stopGrace is how long the append in progress may take when the store stops.
const stopGrace = 10 * time.Second

// run handles requests until ctx ends. It finishes an append that is then in progress.
func (w *writer) run(ctx context.Context) error {
	appendCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(stopGrace, cancel) })()
	w.appendCtx = appendCtx
	poll := time.NewTimer(w.pollInterval())
	defer poll.Stop()
	for {
		if w.health.failed != nil {
			w.refuse()
			return w.health.failed
		}
		var more <-chan struct{}
		if w.trim() {
			more = closed
		}
		select {
		case <-ctx.Done():
			w.refuse()
			return nil
		case first := <-w.queue.requests:
			w.awaitTurn(ctx)
			w.commit(ctx, w.collect([]*request{first}))
		case <-w.behind:
			w.health.observe(ctx, w.catchUp(ctx))
			poll.Reset(w.sweep(ctx))
		case <-poll.C:
			w.follow(ctx)
			poll.Reset(w.sweep(ctx))
		case <-more:
		}
	}
}

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// refuse fails all queued requests when the store stops.
func (w *writer) refuse() {
	for {
		select {
		case r := <-w.queue.requests:
			r.done <- ErrStopped
		default:
			return
		}
	}
}
