package sqlite

import (
	"context"
	"errors"
	"time"

	"github.com/stele-db/stele/drivers/internal/lifetime"
	"github.com/stele-db/stele/logstructured/log"
)

// writeSlice bounds how long a background transaction delays appends.
const writeSlice = 8 * time.Millisecond

// live returns an error if a call must not continue: the log is closed or has failed, or ctx ended.
func (l *Log) live(ctx context.Context) error {
	select {
	case <-l.closed:
		return lifetime.ErrClosed
	default:
	}
	if f := l.failure.Load(); f != nil {
		return f
	}
	return ctx.Err()
}

// lockWriter takes the connection for writing, and reopens it if it was closed after an error.
func (l *Log) lockWriter(ctx context.Context) (*writer, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.closed:
		return nil, lifetime.ErrClosed
	case <-l.writing:
	}
	if err := l.live(ctx); err != nil {
		l.writing <- struct{}{}
		return nil, err
	}
	if l.writer != nil {
		return l.writer, nil
	}
	if err := retryBusy(ctx, l.cfg.busyTimeout, func() error { return l.initialize(false) }); err != nil {
		l.writing <- struct{}{}
		return nil, err
	}
	return l.writer, nil
}

// unlockWriter returns the connection. It never leaves a transaction open.
func (l *Log) unlockWriter() {
	if w := l.writer; w.c.inTransaction() {
		if err := w.rollback.run(); err != nil || w.c.inTransaction() {
			_ = w.close() // rolls back
			l.writer = nil
		}
	}
	l.writing <- struct{}{}
}

// write runs f in one transaction.
func (l *Log) write(ctx context.Context, f func(*writer) error) error {
	w, err := l.lockWriter(ctx)
	if err != nil {
		return err
	}
	defer l.unlockWriter()
	if err := retryBusy(ctx, l.cfg.busyTimeout, w.begin.run); err != nil {
		return err
	}
	if err := f(w); err != nil {
		return err
	}
	l.dirty.Store(true)
	return w.commit.run()
}

// yieldWriter lets waiting appends proceed. Appends of other processes retry at intervals that double up to 5 ms.
func (l *Log) yieldWriter(ctx context.Context) error {
	timer := time.NewTimer(writeSlice)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-l.closed:
		return lifetime.ErrClosed
	case <-timer.C:
		return nil
	}
}

// openReader opens a connection for reading.
func (l *Log) openReader() (*reader, error) {
	c, err := openConn(l.cfg.path, readWrite, l.cfg.vfs)
	if err != nil {
		return nil, err
	}
	var r *reader
	if err = l.configure(c, readerCacheKiB); err == nil {
		err = c.exec(`PRAGMA query_only = 1`)
	}
	if err == nil {
		r, err = newReader(c)
	}
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	return r, nil
}

// read runs f with a connection of the class from, and retries while the database is busy. Readers of a WAL find it
// busy only while it is being recovered or removed. f must reset all statements, or return an error.
func (l *Log) read(ctx context.Context, from class, f func(*reader) error) error {
	var r *reader
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-l.closed:
		return lifetime.ErrClosed
	case r = <-from:
	}
	defer func() { from <- r }()
	if err := l.live(ctx); err != nil {
		return err
	}
	return retryBusy(ctx, l.cfg.busyTimeout, func() (err error) {
		if r == nil {
			if r, err = l.openReader(); err != nil {
				return err
			}
		}
		if err = f(r); err == nil {
			return nil
		}
		// Retry with a fresh connection, which has no open transaction or statement. Errors are rare.
		_ = r.c.close()
		r = nil
		return err
	})
}

// snapshot runs f in a read transaction and returns the end of the log as of the same snapshot.
func (l *Log) snapshot(ctx context.Context, from class, f func(*reader) error) (log.End, error) {
	var end log.End
	err := l.read(ctx, from, func(r *reader) error {
		if err := r.begin.run(); err != nil {
			return err
		}
		// Read the end first, because the first read starts the snapshot.
		var err error
		if end, err = r.readEnd(); err != nil {
			return err
		}
		if err := f(r); err != nil {
			return err
		}
		return r.commit.run()
	})
	return end, err
}
