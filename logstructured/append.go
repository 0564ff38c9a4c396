package logstructured

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// append appends the entries of d to the log. It returns nil if they are in the log and durable, and if the state was
// current when they were added. Without entries it only checks that the state is current: a transaction that wrote
// nothing has then read the current state.
func (w *writer) append(ctx context.Context, d *draft, batch []*request) error {
	// The append uses none of the requests' contexts: the end of one request must not end the append of the rest.
	d.addKeepAlives()
	if len(d.entries) == 0 {
		end, err := w.log.End(ctx)
		if err == nil && end.Head != w.published.head {
			err = log.ErrConflict
		}
		return err
	}
	id := newAppendID(w.turns.tag)
	start := time.Now()
	err := w.log.Append(w.appendCtx, w.published.head, id, d.entries)
	w.metrics.appended(time.Since(start), len(d.entries), len(batch))
	w.refusals.observe(ctx, d.size, err)
	if errors.Is(err, log.ErrUnknown) {
		w.metrics.unknown.Inc()
		err = w.resolve(ctx, err, id, d, batch)
	}
	if err == nil {
		w.st.head = headAfter(w.published.head, id, d.entries)
		w.turns.appended(time.Since(start))
		w.queue.group.appended(time.Since(start))
		w.appliedAt = start
	}
	return err
}

// headAfter returns the head of the log once entries have been appended after head.
func headAfter(head log.Head, id log.AppendID, entries []log.Entry) log.Head {
	return log.Head{Position: head.Position + log.Position(len(entries)), ID: id}
}

// resolve determines the outcome of an append that failed with unknown, which wraps ErrUnknown. As long as the head of
// the log is unchanged, the append may still take effect, so resolve repeats it with the same precondition. Once an
// entry of another append stands in its place, the append has failed. resolve gives up when no client is waiting any
// more, or when the log no longer shows the entry in that place.
func (w *writer) resolve(ctx context.Context, unknown error, id log.AppendID, d *draft, batch []*request) error {
	head := w.published.head
	logger := w.logger.WithField("append", fmt.Sprintf("%x", uint64(id)))
	logger.WithError(unknown).Warn("the outcome of an append is unknown; reading the log to find it")
	for attempt := 0; ; attempt++ {
		if !awaited(batch) || ctx.Err() != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, log.ErrUnknown)
		}
		next, err := w.entryAfter(ctx, head)
		switch {
		case errors.Is(err, errEntryGone), errors.Is(err, log.ErrSyncFailed), errors.Is(err, log.ErrCorrupt):
			return fmt.Errorf("%w: %w: %w", ErrUnavailable, log.ErrUnknown, err)
		case err != nil:
		case next == nil:
			err = w.log.Append(w.appendCtx, head, id, d.entries)
			w.refusals.observe(ctx, d.size, err)
			if err == nil {
				logger.Info("the append took effect when it was repeated")
				return nil
			}
		case next.ID == id:
			// Take the time of the append that took effect: a repeated append may have set a later one.
			for i := range d.entries {
				e := &d.entries[i]
				e.Position, e.ID, e.Time = head.Position+1+log.Position(i), id, next.Time
			}
			// An entry that can be read need not be durable.
			if err = w.log.Confirm(w.appendCtx, headAfter(head, id, d.entries)); err == nil {
				w.refusals.observe(ctx, d.size, nil)
				logger.Info("the append had taken effect")
				return nil
			}
		default:
			logger.Info("the append had failed: another append took its place")
			return log.ErrConflict
		}
		if err != nil {
			logger.WithError(err).Debug("still unknown")
			pause(ctx, backoff(attempt))
		}
	}
}

// awaited reports whether a client still waits for one of the requests.
func awaited(batch []*request) bool {
	for _, r := range batch {
		if r.gone() == nil {
			return true
		}
	}
	return false
}

// errEntryGone means that the log does not show which entry followed another one: the following entry was deleted, or
// the database went back in time.
var errEntryGone = errors.New("the log does not show what became of an append")

// entryAfter returns the entry that follows head, or nil if head is the head of the log.
func (w *writer) entryAfter(ctx context.Context, head log.Head) (*log.Entry, error) {
	entries, end, err := w.log.Read(ctx, head.Position, 1)
	if err != nil {
		return nil, err
	}
	if end.Head == head {
		return nil, nil
	}
	if len(entries) == 0 || entries[0].Position != head.Position+1 {
		return nil, fmt.Errorf("%w: what was after %s is gone", errEntryGone, head)
	}
	return &entries[0], nil
}
