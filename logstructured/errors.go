package logstructured

import "errors"

// What [StartImport] reports, and [Open] and [Check] of a log to which an import did not come to its end.
var (
	// ErrImportUnfinished means that the log holds the beginning of an import: nobody but the import may read it.
	ErrImportUnfinished = errors.New("an import into this database is not finished")
	// ErrImportTarget means that the log holds something else than the beginning of the same import.
	ErrImportTarget = errors.New("cannot import into this database")
)

// What the store's methods return. Every error of theirs wraps one of these or a context's error;
// a server maps them with errors.Is. The names and meanings are etcd's.
var (
	// ErrCompacted means that the revision is below the compact revision (or, for Compact, at it).
	ErrCompacted = errors.New("required revision has been compacted")
	// ErrFutureRevision means that the revision is above the current one.
	ErrFutureRevision = errors.New("required revision is a future revision")
	// ErrKeyNotFound answers ignore_value and ignore_lease on a missing key.
	ErrKeyNotFound = errors.New("key not found")
	// ErrLeaseNotFound answers a put with a lease that does not exist.
	ErrLeaseNotFound = errors.New("requested lease not found")
	// ErrLeaseExists answers a grant of an ID that is taken.
	ErrLeaseExists = errors.New("lease already exists")
	// ErrLeaseTTLTooLarge answers a grant beyond [MaxLeaseTTL].
	ErrLeaseTTLTooLarge = errors.New("too large lease TTL")
	// ErrUnavailable means that the database cannot be reached or failed; the write has not
	// taken effect unless the error also wraps ErrUnknown.
	ErrUnavailable = errors.New("database unavailable")
	// ErrTimeout means that the store's own request timeout ended a request whose client set none.
	// A write may still take effect.
	ErrTimeout = errors.New("request timed out")
	// ErrStopped means that the store is shutting down.
	ErrStopped = errors.New("server stopped")
	// ErrDuplicateWatchID answers the creation of a watcher whose ID is in use on its stream.
	ErrDuplicateWatchID = errors.New("duplicate watch ID provided on the WatchStream")
	// ErrEmptyWatchRange answers the creation of a watcher whose range holds no key.
	ErrEmptyWatchRange = errors.New("watcher range is empty")
)
