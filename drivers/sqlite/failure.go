package sqlite

import (
	"errors"
	"fmt"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/logstructured/log"
)

// failure is an error after which the log does nothing more: it neither reads nor writes nor checkpoints, and Close
// keeps the write-ahead log. Only the next start can recover from it.
type failure struct {
	path     string
	sentinel error
	cause    error
	// advice is what the operator can do.
	advice string
}

func (f *failure) Error() string {
	return fmt.Sprintf("%s (sqlite: %s: %v); %s", connect.Text(f.cause, serverText), f.path, f.sentinel, f.advice)
}

func (f *failure) Unwrap() []error { return []error{f.sentinel, f.cause} }

const (
	syncFailedAdvice = "nothing more is acknowledged, and the -wal file, which holds every acknowledged write, is kept: " +
		"check the disk, stop all processes that have the file open, and start again"
	movedAdvice   = "nothing more is read or written: put the file back with its -wal, and restart Stele"
	corruptAdvice = "nothing more is read or written: stop Stele, keep a copy of the file and its -wal, and start again; " +
		"if that fails or `stele check` reports problems, restore a backup"
)

// fail notes f unless the log has failed before, and returns the failure that counts.
func (l *Log) fail(f *failure) *failure {
	f.path = l.cfg.path
	l.failure.CompareAndSwap(nil, f)
	return l.failure.Load()
}

// inspectFailure notes err if it is one after which the log must not go on, and returns the failure then.
func (l *Log) inspectFailure(err error) *failure {
	var f *failure
	var e *Error
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &e) && e.primary() == sqlite3.SQLITE_CANTOPEN:
		_ = l.inPlace() // it may be gone
		return l.failure.Load()
	case errors.Is(sentinelOf(err), log.ErrSyncFailed):
		return l.fail(&failure{advice: syncFailedAdvice, sentinel: log.ErrSyncFailed, cause: err})
	case errors.Is(sentinelOf(err), log.ErrCorrupt):
		return l.fail(&failure{advice: corruptAdvice, sentinel: log.ErrCorrupt, cause: err})
	}
	return nil
}
