package logstructured

import (
	"context"
	"errors"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// followedLately is how long after an append of another replica more appends are expected.
const followedLately = time.Second

// follow applies the entries that other replicas appended, if any.
func (w *writer) follow(ctx context.Context) {
	head, sentAt := w.published.head, time.Now()
	_, end, err := w.log.Read(ctx, head.Position, 1)
	if err == nil {
		w.observeClock(end.Now, sentAt)
		if end.Head != head {
			err = w.catchUp(ctx)
		} else {
			w.appliedAt = sentAt
		}
	}
	w.health.observe(ctx, err)
}

// catchUpIfNotified applies the entries of other replicas if this replica was notified of any. An append that does not
// follow them would conflict.
func (w *writer) catchUpIfNotified(ctx context.Context) {
	select {
	case <-w.behind:
		w.health.observe(ctx, w.catchUp(ctx))
	default:
	}
}

// pollInterval returns how long to wait before the log is polled again. Waking up is most of the cost of a poll.
func (w *writer) pollInterval() time.Duration {
	switch {
	case w.notified.Load() || w.hub.watchers.Load() == 0:
		return 10 * w.opts.PollInterval
	case time.Since(w.followedAt) > followedLately:
		return 5 * w.opts.PollInterval / 2
	}
	return w.opts.PollInterval
}

// catchUp applies the log up to its head. The caller calls it when no request is under evaluation.
func (w *writer) catchUp(ctx context.Context) error {
	err := w.readOn(ctx, w.published.head, func(entries []log.Entry) {
		for i := range entries {
			w.applyEntry(&entries[i])
		}
		w.followedAt = time.Now()
		heads := headsOf(entries)
		w.publish(heads...)
		for _, head := range heads {
			w.turns.appendedBy(tagOf(head.ID))
		}
	})
	if errors.Is(err, errHistoryChanged) {
		return w.rebuild(ctx, err)
	}
	return err
}

// applyEntry applies an entry that another replica appended.
func (w *writer) applyEntry(e *log.Entry) {
	r := w.st.apply(e)
	w.leases.note(e, r, w.appliedAt)
	if r == nil {
		w.accepted(e)
		return
	}
	if e.Kind == log.KindPut {
		cv := &cachedValue{data: e.Value}
		r.value.Store(cv)
		w.values.insert(r, cv)
	}
}

// awaitTurn waits while it is another replica's turn.
func (w *writer) awaitTurn(ctx context.Context) {
	w.turns.skip(w.queue.group.size())
	for len(w.turns.due) > 0 && ctx.Err() == nil {
		wait := time.Until(w.turns.until)
		if wait <= 0 {
			w.turns.endTurn()
			continue
		}
		poll := !w.notified.Load()
		if poll {
			wait = min(wait, w.turns.pollDelay())
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-w.behind:
			w.health.observe(ctx, w.catchUp(ctx))
		case <-timer.C:
			if poll {
				w.follow(ctx)
			}
		}
		timer.Stop()
	}
}
