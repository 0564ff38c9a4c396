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

var (
	// errHistoryChanged means that the log does not hold the newest entry that was applied here.
	errHistoryChanged = errors.New("the log has another history than was applied")
	// errBehindFloor is the harmless case of errHistoryChanged: this process lagged behind the deletion floor.
	errBehindFloor = fmt.Errorf("%w: rows that were not applied are deleted", errHistoryChanged)
)

// followBatch is how many entries are read from the log at once.
const followBatch = 1000

// readOn reads the log from head, which must be in it, to the log's head. It calls apply with whole appends, so that a
// transaction is applied as one.
func (w *writer) readOn(ctx context.Context, head log.Head, apply func([]log.Entry)) error {
	// tail holds the entries of an append that was not read to its end.
	var tail []log.Entry
	for {
		sentAt := time.Now()
		read := head
		if n := len(tail); n > 0 {
			read = log.Head{Position: tail[n-1].Position, ID: tail[n-1].ID}
		}
		entries, end, err := w.readAfter(ctx, read)
		if err != nil {
			return err
		}
		for i := range entries {
			e := &entries[i]
			if err := cmp.Or(e.Verify(), validate(e), w.sameLeaseMode(e), startsImport(e)); err != nil {
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
			w.appliedAt = sentAt
			return nil
		}
		tail = slices.Clone(entries[n:])
	}
}

// readAfter reads the entries after head. It also reads the entry of head, to check that it is still in the log.
func (w *writer) readAfter(ctx context.Context, head log.Head) ([]log.Entry, log.End, error) {
	sentAt := time.Now()
	entries, end, err := w.log.Read(ctx, max(head.Position-1, 0), followBatch)
	if err != nil {
		return nil, end, err
	}
	w.observeClock(end.Now, sentAt)
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

// observeClock records a reading of the database's clock.
func (w *writer) observeClock(now log.Timestamp, sentAt time.Time) {
	if jump := w.leases.observe(now, sentAt); jump != 0 {
		w.logger.WithField("by", jump.Round(time.Millisecond)).
			Warn("the clock of the database jumped; leases keep their remaining TTLs")
	}
}

// sameLeaseMode returns an error if an entry changes the mode, because another process has converted the leases.
func (w *writer) sameLeaseMode(e *log.Entry) error {
	if e.Kind == log.KindRecord && string(e.Key) == recordLeaseMode && LeaseMode(e.Value) != w.opts.LeaseMode {
		return leaseModeMismatch(LeaseMode(e.Value), w.opts.LeaseMode)
	}
	return nil
}

// headsOf returns the head after each append in entries, which consist of whole appends.
func headsOf(entries []log.Entry) []log.Head {
	var heads []log.Head
	for i := range entries {
		if i+1 == len(entries) || entries[i+1].ID != entries[i].ID {
			heads = append(heads, log.Head{Position: entries[i].Position, ID: entries[i].ID})
		}
	}
	return heads
}

// complete returns how many of the entries belong to complete appends: all of them if they reach the log's head, and
// otherwise all except the entries of the last append.
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
