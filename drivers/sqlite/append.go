package sqlite

import (
	"context"
	"errors"
	"fmt"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/stele-db/stele/logstructured/log"
)

// Append implements [log.Log].
func (l *Log) Append(ctx context.Context, head log.Head, id log.AppendID, entries []log.Entry) error {
	w, err := l.lockWriter(ctx)
	if err != nil {
		return l.translate("append", err)
	}
	defer l.unlockWriter()
	if err := retryBusy(ctx, l.cfg.busyTimeout, w.begin.run); err != nil {
		return l.translate("append", err)
	}
	if err := w.checkHead(head); err != nil {
		return l.translate("append", err)
	}
	if index, err := w.c.walIndex(); err == nil {
		if err := l.walComplete(index); err != nil {
			return l.damaged(err)
		}
	}
	log.Seal(head, id, entries)
	log.Stamp(entries, now()) // under the write lock, so times do not decrease unless the clock is set back
	if err := l.insert(ctx, w, entries); err != nil {
		return l.translate("append", err)
	}
	if err := w.commit.run(); err != nil {
		return l.commitFailed(w, head, err)
	}
	l.dirty.Store(true)
	// walComplete has already checked the WAL, so check only the database file here.
	if w.c.moved() {
		if err := l.inPlace(); err != nil {
			return fmt.Errorf("%w (%w)", err, log.ErrUnknown)
		}
	}
	return nil
}

func (l *Log) insert(ctx context.Context, w *writer, entries []log.Entry) error {
	for _, ins := range w.inserts {
		for len(entries) >= ins.rows {
			if err := l.live(ctx); err != nil {
				return err
			}
			if err := w.insertBatch(ins, entries[:ins.rows]); err != nil {
				return err
			}
			entries = entries[ins.rows:]
		}
	}
	return nil
}

// commitFailed returns the outcome of an append whose COMMIT returned err; see the package's documentation.
func (l *Log) commitFailed(w *writer, head log.Head, err error) error {
	if isBusy(err) {
		return l.translate("commit", err) // the transaction is still open; unlockWriter rolls it back
	}
	var e *Error
	if errors.As(err, &e) && (e.primary() == sqlite3.SQLITE_FULL || e.Code == sqlite3.SQLITE_IOERR_WRITE) {
		return l.translate("commit", err)
	}
	if errors.Is(sentinelOf(err), log.ErrSyncFailed) {
		return fmt.Errorf("%w (%w)", l.translate("commit", err), log.ErrUnknown)
	}
	if settleErr := w.settle(head); settleErr != nil {
		_ = l.inspectFailure(settleErr)
		failure := failed("commit", fmt.Errorf("%w (and then: %w)", err, settleErr))
		failure.Sentinel = log.ErrUnknown
		return failure
	}
	return l.translate("commit", err)
}

// Confirm implements [log.Log].
func (l *Log) Confirm(ctx context.Context, head log.Head) error {
	if err := l.write(ctx, func(w *writer) error {
		if err := w.checkEntry(head); err != nil {
			return err
		}
		return w.touch.run()
	}); err != nil {
		return l.translate("confirm", err)
	}
	return l.inPlace()
}
