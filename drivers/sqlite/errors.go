package sqlite

import (
	"context"
	"errors"
	"math/rand/v2"
	"syscall"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/logstructured/log"
)

// failed returns err as one line that begins with the cause.
func failed(op string, err error) *connect.Failure {
	return &connect.Failure{Operation: "sqlite: " + op, Sentinel: sentinelOf(err), Err: err, Server: serverText}
}

// serverText is the [connect.ServerText] of SQLite.
func serverText(err error) (string, bool) {
	e, ok := err.(*Error) //nolint:errorlint // the caller walks the tree
	if !ok {
		return "", false
	}
	return e.Error(), true
}

// sentinelOf returns the sentinel of the contract for an SQLite error, or nil.
func sentinelOf(err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return nil
	}
	if e.Code == sqlite3.SQLITE_READONLY_DBMOVED {
		return log.ErrCorrupt
	}
	switch e.primary() {
	case sqlite3.SQLITE_FULL:
		return log.ErrNoSpace
	case sqlite3.SQLITE_CANTOPEN:
		if noSpace(e.Errno) != 0 {
			return log.ErrNoSpace
		}
	case sqlite3.SQLITE_READONLY:
		return log.ErrReadOnly
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return log.ErrCorrupt
	case sqlite3.SQLITE_IOERR:
		switch e.Code {
		case sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC:
			// For any errno: the kernel reports the error once and then forgets the pages that it could not write.
			return log.ErrSyncFailed
		case sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS, sqlite3.SQLITE_IOERR_DATA:
			return log.ErrCorrupt
		}
		switch {
		case noSpace(e.Errno) != 0:
			return log.ErrNoSpace
		case e.Errno == syscall.EROFS:
			return log.ErrReadOnly
		}
	}
	return nil
}

// isBusy reports whether another connection held a lock, so that nothing was done.
func isBusy(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.primary() {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL:
		return true
	}
	return false
}

func isInterrupted(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.primary() == sqlite3.SQLITE_INTERRUPT
}

// retryBusy calls f until the database is not busy, ctx ends, or patience has passed. In the last case it returns the
// busy error. It replaces SQLite's own busy handler, which first sleeps a whole millisecond and ignores contexts.
func retryBusy(ctx context.Context, patience time.Duration, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := f()
	if !isBusy(err) {
		return err
	}
	deadline := time.Now().Add(patience)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, 5*time.Millisecond) {
		timer.Reset(pause/2 + rand.N(pause))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		if err = f(); !isBusy(err) || time.Now().After(deadline) {
			return err
		}
	}
}
