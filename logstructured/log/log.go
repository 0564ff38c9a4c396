// Package log is the contract between the store and its drivers: an append-only log in a database.
//
// A driver implements [Log], and if its database allows it also [Notifier], [Registry] and [Verifier]. The package
// drivers/drivertest checks that an implementation keeps the contract. This package imports no other package of the
// repository.
package log

import (
	"cmp"
	"context"
	"fmt"
	"time"
)

// Position numbers the entries of the log: dense, starting at 1, never skipped by an append.
// Deletion leaves holes in the stored rows, never in the numbering. 0 is the head of an empty log.
type Position int64

// AppendID is the random, non-zero identity of one append; all of its entries carry it.
// Together with a Position it identifies an entry.
type AppendID int64

// Revision is etcd's store revision. A fresh store is at revision 1.
type Revision int64

// LeaseID identifies a lease; 0 is none. Where leases are only TTLs, it is the TTL in seconds.
type LeaseID int64

// Timestamp is a time on the database's clock, in milliseconds since the Unix epoch.
type Timestamp int64

// Time returns t as a [time.Time].
func (t Timestamp) Time() time.Time { return time.UnixMilli(int64(t)) }

// Kind is the kind of change that an entry makes.
type Kind uint8

// The kinds are stored: never renumber them.
const (
	// KindPut writes a key.
	KindPut Kind = 1
	// KindTombstone deletes a key.
	KindTombstone Kind = 2
	// KindCompaction sets the compact revision to the entry's Revision. It uses no revision of its own.
	KindCompaction Kind = 3
	// KindRecovery makes the entry's Revision the current revision and the compact revision, and its Version the term.
	// Revisions that clients may have seen in a history that the database has lost are never used again.
	KindRecovery Kind = 4
	// KindRecord sets the record named Key to Value, or removes it if Version is 0.
	KindRecord Kind = 5
	// KindLease grants the lease Lease with a TTL of Version seconds, or revokes it if Version is 0. The tombstones of
	// a revoked lease's keys come before it, in the same append.
	KindLease Kind = 6
	// KindKeepAlive extends leases to their whole TTL from the entry's Time on. Value holds their IDs, 8 bytes each,
	// the most significant byte first.
	KindKeepAlive Kind = 7
	// KindJump makes the entry's Revision the current revision without a write. An import keeps the revisions of a
	// history that has gaps.
	KindJump Kind = 8
)

var kinds = [...]string{
	KindPut: "put", KindTombstone: "tombstone", KindCompaction: "compaction", KindRecovery: "recovery",
	KindRecord: "record", KindLease: "lease", KindKeepAlive: "keep-alive", KindJump: "jump",
}

func (k Kind) String() string {
	if k == 0 || int(k) >= len(kinds) {
		return fmt.Sprintf("kind %d", uint8(k))
	}
	return kinds[k]
}

// Entry is one row of the log. An entry never changes after its append.
type Entry struct {
	// Position and ID are set by Append (Position counts up from the head) and filled in by every read.
	Position Position
	ID       AppendID
	// Time is the database's clock at the append, the same for all entries of one append.
	Time Timestamp

	Kind Kind
	// Revision is the mod revision of a put or tombstone, the compact revision of a compaction, and the current
	// revision of other kinds.
	Revision Revision
	// Sub is the sub-revision: the order of the writes that share one revision, from 0.
	Sub int64
	// Key is any bytes. It is not empty for a put, a tombstone or a record.
	Key []byte
	// Value is the value of a put or a record: nil and empty are the same.
	Value []byte
	// ValueSize is the length of the value in bytes, set by every read, also by those that leave the value out.
	ValueSize int
	// CreateRevision, Version and Lease are etcd's for a put, and 0 for other kinds unless the kind gives them a
	// meaning.
	CreateRevision Revision
	Version        int64
	Lease          LeaseID
	// Checksum is set by Append and filled in by every read, 0 for a row that was stored without one.
	Checksum Checksum
}

// Head is the position and append ID of the newest entry of a log. The position alone is not enough, because a database
// that was restored from a backup may have another entry there. An empty log has the zero Head.
type Head struct {
	Position Position
	ID       AppendID
}

func (h Head) String() string { return fmt.Sprintf("%d/%x", h.Position, uint64(h.ID)) }

// End is the head of the log and the data that the database stores besides entries, read in one snapshot.
type End struct {
	Head
	// Floor is the deletion floor. Rows that are garbage to a replica that has applied all entries up to Floor may be
	// deleted. A replica that has applied less must load the log again instead of following it.
	Floor Position
	// Rows is the number of rows that the log must have, 0 if the database does not count deletions.
	Rows int64
	// Now is the database's clock.
	Now Timestamp
	// ClusterID is the identity of the store, non-zero, chosen when the log was created.
	ClusterID uint64
}

// Size is the space that the log takes.
type Size struct {
	// Total is the number of bytes of the database (file or relation, indexes included) on disk.
	Total int64
	// InUse is Total without the pages that are free for reuse.
	InUse int64
}

// Log is an append-only log in a database. A driver implements it.
//
// All methods may be called concurrently, except that the store calls Append from one goroutine only; other processes
// may append at the same time. Every method returns promptly after its context ended. Errors wrap one of the sentinels
// of this package where one applies ([ErrConflict], [ErrUnknown], [ErrNoSpace], [ErrReadOnly], [ErrNoConnection],
// [ErrCorrupt], [ErrTooLarge], [ErrSyncFailed]). Every other error means that the database failed, that nothing was
// written, and that the caller may retry.
//
// End, Append, Confirm and Read do not wait for calls of other methods, unless the database grants too few connections.
// Values serves at least five calls at once.
type Log interface {
	// End returns the end of the log at a moment after the call began. Linearizable reads depend on it, so it is
	// answered by a server that could accept a write, never by a read replica.
	End(ctx context.Context) (End, error)

	// Append adds entries after head, all or none. When it returns nil, they survive a loss of power. It sets Position,
	// ID, Time and Checksum of the entries (see [Seal]). id is non-zero, and there is at least one entry.
	//
	//   - [ErrConflict]: head (position and append ID) is not the head of the log. Nothing was written.
	//   - [ErrUnknown]: the entries may have been written, or a statement that is still running may write them later.
	//     The caller finds out with End and Read. It may also append the same entries again with the same head and id.
	//   - Any other error: nothing was written and nothing will be.
	//
	// The only limits on the number and size of entries are the database's, which the driver's documentation states. An
	// append that exceeds them returns [ErrTooLarge].
	Append(ctx context.Context, head Head, id AppendID, entries []Entry) error

	// Confirm returns nil once the entries of the append that ended at head are durable. An entry that can be read need
	// not be durable yet: a commit is visible when its wait for a synchronous standby was canceled. So Confirm commits
	// a change that the database can make durable only together with or after the entries, in a transaction that finds
	// head's entry in its place. [ErrConflict] means that the entry is not there. After any other error the state of
	// the entries is unknown.
	Confirm(ctx context.Context, head Head) error

	// Read returns entries with position > after, in order, with their values. It returns at most limit entries
	// (limit > 0). It stops after at least one entry once their keys and values exceed about 8 MiB. The End comes from
	// the same snapshot, which is at least as new as the results of all calls of this Log that returned before Read
	// began, conflicts included. Unlike End, Read need not prove that the server could take a write.
	Read(ctx context.Context, after Position, limit int) ([]Entry, End, error)

	// Scan calls fn with all entries with position > after, in order, in batches, from one snapshot whose End it
	// returns. It leaves out the values of puts, and of no other kind. The batch belongs to Scan: fn copies the entries
	// that it keeps, but may keep their keys. An error of fn ends the scan and is returned.
	Scan(ctx context.Context, after Position, fn func([]Entry) error) (End, error)

	// Values returns the values at positions, in their order, with the append IDs and checksums, by one query for some
	// thousand positions. Found[i] is false if no row is at positions[i], because it was deleted. The End comes from
	// the same snapshot as the (last) query.
	Values(ctx context.Context, positions []Position) (Values, error)

	// Delete deletes the rows at positions, lower positions never after higher ones, in bounded transactions between
	// which appends go on. Each transaction finds applied, an entry that the caller has applied, in its place.
	// Otherwise Delete returns [ErrConflict], because other rows may be at the positions. The zero Head is in every
	// log. Delete first raises the floor to at least floor. It never deletes the newest row, and ignores positions
	// without a row. After an error some rows may be deleted. Calling it again is harmless.
	Delete(ctx context.Context, applied Head, positions []Position, floor Position) error

	// Size returns the space that the log takes.
	Size(ctx context.Context) (Size, error)

	// Defragment gives free space back to the file system. Reads and appends may wait for it.
	Defragment(ctx context.Context) error

	// Close releases the database. Calls that are running, and later ones, fail.
	Close() error
}

// NewValues returns a result for n positions, none of which was found.
func NewValues(n int) Values {
	return Values{
		Values: make([][]byte, n), IDs: make([]AppendID, n), Checksums: make([]Checksum, n), Found: make([]bool, n),
	}
}

// Values is the result of [Log.Values].
type Values struct {
	Values    [][]byte
	IDs       []AppendID
	Checksums []Checksum
	Found     []bool
	End       End
}

// Notifier is implemented by a Log whose database can notify of the appends of other processes. Without it the store
// polls with Read.
type Notifier interface {
	// Listen calls wake once it is subscribed, and then after appends of other processes, not after this Log's own. It
	// returns when ctx ends or the subscription is lost. Calls of wake may be spurious, late or missing: they only
	// shorten polling.
	Listen(ctx context.Context, wake func()) error
}

// Verifier is implemented by a Log whose database can check its own files.
type Verifier interface {
	// Verify reads the whole database and returns the faults of its structure, one sentence each.
	Verify(ctx context.Context) (problems []string, err error)
}

// Registry is implemented by a Log that several replicas can share from different machines.
type Registry interface {
	// Register adds self to the replicas of this log or refreshes it, by its ID. It sets Seen, and Since of a new
	// replica, to the database's clock. It returns all registered replicas, including self, in the order of
	// [Replica.Compare].
	Register(ctx context.Context, self Replica) ([]Replica, error)
	// Unregister removes a replica if its Seen is still seen, or in any case if seen is 0. It returns nil if there is
	// no such replica.
	Unregister(ctx context.Context, id uint64, seen Timestamp) error
}

// Replica is a process that serves the log.
type Replica struct {
	// ID is the member ID, non-zero.
	ID         uint64
	Name       string
	ClientURLs []string
	// Version of the program.
	Version string
	// Since is when it first registered, and Seen when it last did.
	Since, Seen Timestamp
}

// Compare orders replicas by Since, then by ID: the order of [Registry.Register].
func (r Replica) Compare(other Replica) int {
	return cmp.Or(cmp.Compare(r.Since, other.Since), cmp.Compare(r.ID, other.ID))
}
