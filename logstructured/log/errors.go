package log

import "errors"

// Errors of a [Log].
var (
	// ErrConflict means that the precondition of an append no longer holds; nothing was written.
	ErrConflict = errors.New("append conflict: the head of the log has moved")
	// ErrUnknown means that an append may or may not take place, now or later.
	ErrUnknown = errors.New("append outcome unknown")
	// ErrNoSpace means that the database has no space for the write; nothing was written.
	ErrNoSpace = errors.New("database space exceeded")
	// ErrReadOnly means that the database accepts no writes; nothing was written.
	ErrReadOnly = errors.New("database is read-only")
	// ErrNoConnection means that the database refuses further connections; nothing was written.
	ErrNoConnection = errors.New("database refuses further connections")
	// ErrCorrupt means that the database holds something that no Log writes.
	ErrCorrupt = errors.New("database is corrupt")
	// ErrSyncFailed means that a sync failed, so that the operating system may have dropped data that it had not
	// written yet. The Log does nothing more. The process has to end, so that the next one recovers from the disk.
	ErrSyncFailed = errors.New("a sync to disk failed")
	// ErrTooLarge means that an append exceeds the database's limit for one transaction; nothing was written.
	ErrTooLarge = errors.New("transaction is too large for the database")
)
