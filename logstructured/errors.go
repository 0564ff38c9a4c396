package logstructured

import (
	"context"
	"errors"
	"fmt"

	"github.com/stele-db/stele/logstructured/log"
)

// Errors of [StartImport], and of [Open] and [Check] for a log with an unfinished import.
var (
	// ErrImportUnfinished means that the log holds an unfinished import. Only the import may read it.
	ErrImportUnfinished = errors.New("an import into this database is not finished")
	// ErrImportTarget means that the log holds something other than the beginning of the same import.
	ErrImportTarget = errors.New("cannot import into this database")
)

// Errors of the store's methods. Every error that they return wraps one of these or a context's error; a server maps
// them with errors.Is. The names and meanings are etcd's.
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
	// ErrUnavailable means that the database cannot be reached or failed. The write has not taken effect unless the
	// error also wraps ErrUnknown.
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

// ErrLeaseMode answers requests that [LeaseModeTTL] cannot serve.
var ErrLeaseMode = errors.New("in lease mode ttl a lease is only a TTL: " +
	"it cannot be chosen, kept alive, revoked or listed")

// ErrLeaseIdentity answers puts of keys whose names end with the ID of their lease, in [LeaseModeTTL].
var ErrLeaseIdentity = errors.New("in lease mode ttl all leases with the same TTL have the same ID: " +
	"a key that is named after its lease is not unique")

// ErrLeaseModeMismatch means that the log's lease mode is not [Options.LeaseMode].
var ErrLeaseModeMismatch = errors.New("lease mode mismatch")

// errValueGone means that a row was deleted between finding it in the index and reading its value: it was compacted, or
// the database went back to before it was written.
var errValueGone = errors.New("value was compacted")

// errIndexFull refuses a write because this replica's index has reached its memory limit.
var errIndexFull = fmt.Errorf("%w: the index has reached its limit", log.ErrNoSpace)

// unavailable turns a failure of the database into [ErrUnavailable] or, if it did not answer in time, [ErrTimeout]. It
// returns the cause of ctx's end if the caller gave up. The text begins with the text of err, which begins with the
// cause.
func unavailable(ctx context.Context, operation string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, known := range []error{log.ErrNoSpace, log.ErrReadOnly, log.ErrUnknown, ErrStopped} {
		if errors.Is(err, known) {
			return fmt.Errorf("%w (%s)", err, operation)
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w (%s: %w)", err, operation, ErrTimeout)
	}
	return fmt.Errorf("%w (%s: %w)", err, operation, ErrUnavailable)
}

// failed is [unavailable] for the store's own calls, whose ctx ends only when the store stops.
func failed(ctx context.Context, operation string, err error) error {
	if ctx.Err() != nil {
		return ErrStopped
	}
	return unavailable(ctx, operation, err)
}
