package logstructured

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// followBatch is how many entries are read from the log at once.
const followBatch = 1000

// followedLately is how long after an append of another process more are expected.
const followedLately = time.Second

var (
	// errHistoryChanged means that the log does not hold the newest entry that was applied here.
	errHistoryChanged = errors.New("the log has another history than was applied")
	// errBehindFloor is the harmless case of it: this process lagged behind the deletion floor.
	errBehindFloor = fmt.Errorf("%w: rows that were not applied are deleted", errHistoryChanged)
)

// follow applies what other processes appended, if anything.
func (w *writer) follow(ctx context.Context) {
	head, asked := w.published.head, time.Now()
	_, end, err := w.store.log.Read(ctx, head.Position, 1)
	if err == nil {
		w.observe(end.Now, asked)
		if end.Head != head {
			err = w.catchUp(ctx)
		} else {
			w.current = asked
		}
	}
	w.store.health.observe(ctx, err)
}

// followTold applies what other processes appended if it is known that they have: an append without it would be in vain.
func (w *writer) followTold(ctx context.Context) {
	select {
	case <-w.store.behind:
		w.store.health.observe(ctx, w.catchUp(ctx))
	default:
	}
}

// pollInterval is how long to wait before the log is looked at again. Most of what a look costs is the waking up.
func (w *writer) pollInterval() time.Duration {
	s := w.store
	switch {
	case s.notified.Load() || s.hub.watchers.Load() == 0:
		return 10 * s.opts.PollInterval
	case time.Since(w.followed) > followedLately:
		return 5 * s.opts.PollInterval / 2
	}
	return s.opts.PollInterval
}

// observe takes note of the database's clock.
func (w *writer) observe(told log.Timestamp, asked time.Time) {
	if jump := w.leases.observe(told, asked); jump != 0 {
		w.store.logger.WithField("by", jump.Round(time.Millisecond)).Warn("the clock of the database jumped; leases keep their remaining TTLs")
	}
}

// catchUp applies the log up to its end. Nothing is under evaluation.
func (w *writer) catchUp(ctx context.Context) error {
	err := w.readOn(ctx, w.published.head, func(entries []log.Entry) {
		for i := range entries {
			w.follow1(&entries[i])
		}
		w.followed = time.Now()
		heads := ends(entries)
		w.publish(heads...)
		for _, head := range heads {
			w.turns.foreign(tagOf(head.ID))
		}
	})
	if errors.Is(err, errHistoryChanged) {
		return w.rebuild(ctx, err)
	}
	return err
}

// readOn reads the log from head, which must be in it, to its end, and calls apply with whole appends: a transaction is applied as one.
func (w *writer) readOn(ctx context.Context, head log.Head, apply func([]log.Entry)) error {
	// tail holds the entries of an append that was not read to its end.
	var tail []log.Entry
	for {
		asked := time.Now()
		read := head
		if n := len(tail); n > 0 {
			read = log.Head{Position: tail[n-1].Position, ID: tail[n-1].ID}
		}
		entries, end, err := w.readAfter(ctx, read)
		if err != nil {
			return err
		}
		for i := range entries {
			if err := cmp.Or(entries[i].Verify(), validate(&entries[i]), w.store.sameLeaseMode(&entries[i]), startsImport(&entries[i])); err != nil {
				return err
			}
		}
		entries = append(tail, entries...)
		n := complete(entries, end.Head)
		if n > 0 {
			apply(entries[:n])
			head = log.Head{Position: entries[n-1].Position, ID: entries[n-1].ID}
		}
		if head == end.Head {
			w.current = asked
			return nil
		}
		tail = slices.Clone(entries[n:])
	}
}

// ends returns the head after each append of which entries, that are whole appends, consist.
func ends(entries []log.Entry) []log.Head {
	var heads []log.Head
	for i := range entries {
		if i+1 == len(entries) || entries[i+1].ID != entries[i].ID {
			heads = append(heads, log.Head{Position: entries[i].Position, ID: entries[i].ID})
		}
	}
	return heads
}

// complete returns how many of the entries belong to appends of which nothing is missing: all up to the log's end, and otherwise
// all but those of the last append.
func complete(entries []log.Entry, end log.Head) int {
	n := len(entries)
	if n == 0 || (log.Head{Position: entries[n-1].Position, ID: entries[n-1].ID}) == end {
		return n
	}
	last := entries[n-1].ID
	for n > 0 && entries[n-1].ID == last {
		n--
	}
	return n
}

// readAfter reads the entries after head, and head's again to see that it is still there.
func (w *writer) readAfter(ctx context.Context, head log.Head) ([]log.Entry, log.End, error) {
	asked := time.Now()
	entries, end, err := w.store.log.Read(ctx, max(head.Position-1, 0), followBatch)
	if err != nil {
		return nil, end, err
	}
	w.observe(end.Now, asked)
	if end.Floor > head.Position {
		return nil, end, fmt.Errorf("%w: applied %s, floor %d", errBehindFloor, head, end.Floor)
	}
	if head.Position == 0 {
		return entries, end, nil
	}
	if len(entries) == 0 || (log.Head{Position: entries[0].Position, ID: entries[0].ID}) != head {
		return nil, end, fmt.Errorf("%w: applied %s", errHistoryChanged, head)
	}
	return entries[1:], end, nil
}

// follow1 applies an entry that another process appended.
func (w *writer) follow1(e *log.Entry) {
	r := w.st.apply(e)
	w.leases.note(e, r, w.current)
	if r == nil {
		w.accepted(e)
		return
	}
	if e.Kind == log.KindPut {
		cv := &cachedValue{data: e.Value}
		r.value.Store(cv)
		w.store.values.admit(r, cv)
	}
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
