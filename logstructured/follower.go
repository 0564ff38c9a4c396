package logstructured

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// followBatch is how many entries are read from the log at once.
const followBatch = 1000

// errHistoryChanged means that the log does not hold the newest entry that was applied here: the database went
// back in time, or this process lagged behind the deletion floor.
var errHistoryChanged = errors.New("the log has another history than was applied")

// follow applies what other processes appended, if anything.
func (w *writer) follow(ctx context.Context) {
	end, err := w.store.log.End(ctx)
	if err == nil {
		w.leases.observe(end.Now)
		if end.Head != w.published.head {
			err = w.catchUp(ctx)
		}
	}
	w.store.health.observe(ctx, err)
}

// catchUp applies the log up to its end. Nothing is under evaluation.
func (w *writer) catchUp(ctx context.Context) error {
	// tail holds the entries of an append that was not read to its end: a transaction is applied as a whole.
	var tail []Entry
	for {
		read := w.published.head
		if n := len(tail); n > 0 {
			read = Head{tail[n-1].Position, tail[n-1].ID}
		}
		entries, end, err := w.readAfter(ctx, read)
		if errors.Is(err, errHistoryChanged) {
			w.store.logger.WithField("head", read).WithError(err).Error("the database does not hold what was applied here: rebuilding the index from it")
			return w.rebuild(ctx)
		}
		if err != nil {
			return err
		}
		entries = append(tail, entries...)
		n := complete(entries, end.Head)
		for i := range entries[:n] {
			w.follow1(&entries[i])
		}
		if n > 0 {
			w.publish()
		}
		if w.published.head == end.Head {
			return nil
		}
		tail = slices.Clone(entries[n:])
	}
}

// complete returns how many of the entries belong to appends of which nothing is missing: all up to the log's end, and otherwise
// all but those of the last append.
func complete(entries []Entry, end Head) int {
	n := len(entries)
	if n == 0 || (Head{entries[n-1].Position, entries[n-1].ID}) == end {
		return n
	}
	last := entries[n-1].ID
	for n > 0 && entries[n-1].ID == last {
		n--
	}
	return n
}

// readAfter reads the entries after head, and head's again to see that it is still there.
func (w *writer) readAfter(ctx context.Context, head Head) ([]Entry, End, error) {
	entries, end, err := w.store.log.Read(ctx, max(head.Position-1, 0), followBatch)
	if err != nil {
		return nil, end, err
	}
	w.leases.observe(end.Now)
	if end.Floor > head.Position {
		return nil, end, fmt.Errorf("%w: applied %s, floor %d", errHistoryChanged, head, end.Floor)
	}
	if head.Position == 0 {
		return entries, end, nil
	}
	if len(entries) == 0 || (Head{entries[0].Position, entries[0].ID}) != head {
		return nil, end, fmt.Errorf("%w: applied %s", errHistoryChanged, head)
	}
	return entries[1:], end, nil
}

// follow1 applies an entry that another process appended.
func (w *writer) follow1(e *Entry) {
	r := w.st.apply(e)
	if r == nil {
		w.accepted(e)
		return
	}
	w.leases.add(r)
	if e.Kind == KindPut {
		cv := &cachedValue{data: e.Value}
		r.value.Store(cv)
		w.store.values.admit(r, cv)
	}
}

// rebuild makes the state anew from the log.
func (w *writer) rebuild(ctx context.Context) error {
	start := time.Now()
	end, err := w.store.log.End(ctx)
	if err != nil {
		return err
	}
	st, leases, err := load(ctx, w.store.log, end)
	if err != nil {
		return err
	}
	w.st, w.leases, w.cuts = st, leases, nil
	w.publish()
	w.store.logger.WithFields(map[string]any{
		"revision": st.revision, "keys": st.keys.Len(), "took": time.Since(start).Round(time.Millisecond),
	}).Info("index rebuilt")
	return nil
}

// pause waits, but no longer than ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// backoff grows from 5 ms to a second.
func backoff(attempt int) time.Duration {
	return min(5*time.Millisecond<<min(attempt, 10), time.Second)
}
