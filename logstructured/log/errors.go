package log

import "errors"

// What a [Log] reports.
var (
	// ErrConflict means that the log did not end where the append expected; nothing was written.
	ErrConflict = errors.New("append conflict: the log's end has moved")
	// ErrUnknown means that an append may or may not take effect, now or later.
	ErrUnknown = errors.New("append outcome unknown")
	// ErrNoSpace means that the database has no room for the write; nothing was written.
	ErrNoSpace = errors.New("database space exceeded")
	// ErrReadOnly means that the database takes no writes; nothing was written.
	ErrReadOnly = errors.New("database is read-only")
	// ErrNoConnection means that the database takes no further connection; nothing was written.
	ErrNoConnection = errors.New("database refuses further connections")
	// ErrCorrupt means that what is stored is not what a Log may hold.
	ErrCorrupt = errors.New("database is corrupt")
	// ErrSyncFailed means that the operating system reported a failed sync and may have dropped what it had not written yet.
	// A Log that returns it does nothing more; the process has to end, so that the next one recovers what the disk holds.
	ErrSyncFailed = errors.New("a sync to disk failed")
	// ErrTooLarge means that an append exceeds what the database takes in one transaction; nothing was written.
	ErrTooLarge = errors.New("transaction is too large for the database")
)
