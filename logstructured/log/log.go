// Package log is the contract between the store and its drivers: an append-only log in a database.
//
// A driver implements [Log], and where its database allows it [Notifier], [Registry] and [Verifier]. The package
// drivers/drivertest checks that an implementation keeps the contract. This package imports nothing of the repository.
package log

import (
	"cmp"
	"context"
	"fmt"
	"time"
)

// Position numbers the entries of the log: dense, starting at 1, never skipped by an append.
// Compaction leaves holes in the stored rows, never in the numbering. 0 is the empty log's end.
type Position int64

// AppendID is the random, non-zero identity of one append; all of its entries carry it.
// Together with a Position it tells whose entry stands there.
type AppendID int64

// Revision is etcd's store revision. A fresh store is at revision 1.
type Revision int64

// LeaseID identifies a lease; 0 is none. In [LeaseModeTTL] it is the TTL in seconds.
type LeaseID int64

// Timestamp is the database's clock in milliseconds since the Unix epoch.
type Timestamp int64

// Time converts t for people to read.
func (t Timestamp) Time() time.Time { return time.UnixMilli(int64(t)) }

// Kind is what an entry changes.
type Kind uint8

// The kinds are stored: never renumber them.
const (
	// KindPut writes a key.
	KindPut Kind = 1
	// KindTombstone deletes a key.
	KindTombstone Kind = 2
	// KindCompaction sets the compact revision to the entry's Revision. It uses no revision of its own.
	KindCompaction Kind = 3
	// KindRecovery makes the entry's Revision the current revision and the compact revision, and its Version the term: revisions
	// that clients may have seen in a history that the database has lost are never used again.
	KindRecovery Kind = 4
	// KindRecord sets the record named Key to Value, or removes it if Version is 0.
	KindRecord Kind = 5
	// KindLease grants the lease Lease with a TTL of Version seconds, or revokes it if that is 0: the tombstones of its keys come before, in the same append.
	KindLease Kind = 6
	// KindKeepAlive lets each of some leases, whose IDs of 8 bytes, the highest first, are the Value, last its whole TTL from the entry's Time on.
	KindKeepAlive Kind = 7
	// KindJump makes the entry's Revision the current revision without a write: an import keeps the revisions of a history that has gaps.
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

// Entry is one row of the log. Entries never change after they were appended.
type Entry struct {
	// Position and ID are set by Append (Position counts up from the guard) and filled in by every read.
	Position Position
	ID       AppendID
	// Time is the database's clock at the append, the same for all entries of one append.
	Time Timestamp

	Kind Kind
	// Revision is the mod revision of a put or tombstone, the compact revision of a compaction, and of other kinds the current revision.
	Revision Revision
	// Sub is the sub-revision: the order of the writes that share one revision, from 0.
	Sub int64
	// Key is never empty for a put, a tombstone or a record, and any bytes at all.
	Key []byte
	// Value is the value of a put or a record: nil and empty are the same.
	Value []byte
	// ValueSize is the length of the value in bytes, set by every read, also by those that leave the value out.
	ValueSize int
	// CreateRevision, Version and Lease are those of a put, and 0 otherwise if the kind does not say what they mean.
	CreateRevision Revision
	Version        int64
	Lease          LeaseID
	// Checksum is set by Append and filled in by every read, 0 for a row that was stored without one.
	Checksum Checksum
}

// Head names the newest entry of a log: the position alone is not enough, because a database that
// was restored from a backup may have another entry there. The zero Head is that of an empty log.
type Head struct {
	Position Position
	ID       AppendID
}

func (h Head) String() string { return fmt.Sprintf("%d/%x", h.Position, uint64(h.ID)) }

// End is what the database says about the end of the log, read in one snapshot.
type End struct {
	Head
	// Floor is the deletion floor: rows that are dead to whoever has applied everything up to Floor
	// may be gone. Whoever has applied less must rebuild instead of following.
	Floor Position
	// Rows is how many rows the log must have, 0 if the database does not count what is deleted.
	Rows int64
	// Now is the database's clock.
	Now Timestamp
	// ClusterID is the identity of the store, non-zero, made when the log was created.
	ClusterID uint64
}

// Size is the room that the log takes.
type Size struct {
	// Total is the number of bytes of the database (file or relation, indexes included) on disk.
	Total int64
	// InUse is Total without the pages that are free for reuse.
	InUse int64
}

// Log is the append-only log in a SQL database: what the store needs of a driver.
//
// All methods may be called concurrently with each other, except that the store calls Append from one
// goroutine only (other processes may append at the same time; that is what the guard is for). Every
// method returns promptly after its context ended. Errors wrap one of the sentinels of this package
// where one applies ([ErrConflict], [ErrUnknown], [ErrNoSpace], [ErrReadOnly], [ErrNoConnection], [ErrCorrupt],
// [ErrSyncFailed]); every other error means that the database failed, that nothing was written, and that the call may
// be tried again.
//
// End, Append, Confirm and Read do not wait for calls of other methods, however many there are and whatever they read,
// unless the database grants too few connections. Values serves at least five calls at once.
type Log interface {
	// End returns the end of the log as of a moment after the call began, asked of a server that could
	// take a write (never of a read replica): linearizable reads rest on it.
	End(ctx context.Context) (End, error)

	// Append adds entries right after head, all or nothing, durably: when it returns nil they survive the
	// loss of power. id is non-zero. It sets Position, ID, Time and Checksum of the entries (see [Seal]). len(entries) > 0.
	//
	//   - [ErrConflict]: the log did not end at head (position and id). Nothing was written.
	//   - [ErrUnknown]: the entries may have been written, or may be written later by a statement that is
	//     still running. The caller finds out by End and Read; it may also append the same entries again
	//     with the same head and id.
	//   - any other error: nothing was written and nothing will be.
	//
	// There is no limit to the number or size of entries but the database's own, which the driver's documentation states;
	// what is beyond it wraps [ErrTooLarge].
	Append(ctx context.Context, head Head, id AppendID, entries []Entry) error

	// Confirm returns nil once the entries of the append that ended at head are known to be durable: it commits something that
	// the database can make durable only together with or after them, in a transaction that finds head's entry in its place. An entry
	// that can be read need not be durable yet: a commit whose wait for a synchronous standby was broken off is visible.
	// [ErrConflict] means that the entry is not there; after any other error nothing is known.
	Confirm(ctx context.Context, head Head) error

	// Read returns entries with position > after in order, values included: at most limit of them
	// (limit > 0), and fewer than that, but at least one if there is one, once their keys and values exceed
	// about 8 MiB. The End comes from the same snapshot, and that is at least as new as what any call of this Log had told
	// when Read began, conflicts included. Unlike End it need not prove that the server could take a write.
	Read(ctx context.Context, after Position, limit int) ([]Entry, End, error)

	// Scan calls fn with every entry with position > after, in order, in batches, the values of puts left out
	// (other kinds have theirs), all from one snapshot whose End it returns. The batch belongs to Scan: fn
	// copies what it keeps of the slice, but may keep the keys. An error of fn ends the scan and is returned.
	Scan(ctx context.Context, after Position, fn func([]Entry) error) (End, error)

	// Values returns the values at positions, in their order, with the IDs of their appends and their checksums, in one query per
	// some thousand positions. Found[i] is false where no row stands at positions[i] (deleted by a compaction). The End comes
	// from the same snapshot as the (last) query.
	Values(ctx context.Context, positions []Position) (Values, error)

	// Delete removes the rows at positions, lower ones never after higher ones, in bounded transactions that let appends
	// through and each of which finds guard, an entry that the caller has applied, in its place: otherwise [ErrConflict], because
	// other rows may stand at the positions. The zero Head stands in every log. Delete first raises the floor to at least floor. The newest row is never deleted, even when named. Positions that hold
	// no row are passed over. After an error some rows may be gone; calling again is harmless.
	Delete(ctx context.Context, guard Head, positions []Position, floor Position) error

	// Size returns the room that the log takes.
	Size(ctx context.Context) (Size, error)

	// Defragment gives free space back to the file system. Reads and appends may wait for it.
	Defragment(ctx context.Context) error

	// Close releases the database. Calls that are under way or follow fail.
	Close() error
}

// NewValues returns an answer for n positions, none of which was found.
func NewValues(n int) Values {
	return Values{Values: make([][]byte, n), IDs: make([]AppendID, n), Checksums: make([]Checksum, n), Found: make([]bool, n)}
}

// Values is the answer of [Log.Values].
type Values struct {
	Values    [][]byte
	IDs       []AppendID
	Checksums []Checksum
	Found     []bool
	End       End
}

// Notifier is implemented by a Log whose database can tell that another process appended. Without it the
// store polls by Read.
type Notifier interface {
	// Listen calls wake once when the subscription stands and then after appends of other processes (never only because of this
	// Log's own), and returns when ctx ended or the subscription was lost. Wake-ups may be spurious, late or missing: they only
	// shorten polling.
	Listen(ctx context.Context, wake func()) error
}

// Verifier is implemented by a Log that can check the structure in which its database stores it.
type Verifier interface {
	// Verify reads the whole database and returns what is wrong with its structure, one sentence each.
	Verify(ctx context.Context) (problems []string, err error)
}

// Registry is implemented by a Log that several replicas can share from different machines.
type Registry interface {
	// Register adds self to the replicas of this log or refreshes it, by its ID, setting Seen (and Since when it is new) to the
	// database's clock. It returns all that are registered, self included, in the order of Since, then ID.
	Register(ctx context.Context, self Replica) ([]Replica, error)
	// Unregister removes a replica, only while its Seen is seen unless that is 0. That there is none to remove is no error.
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
	// Since is when it registered, Seen when it registered last.
	Since, Seen Timestamp
}

// Compare orders replicas by Since, then by ID: the order of [Registry.Register].
func (r Replica) Compare(other Replica) int {
	return cmp.Or(cmp.Compare(r.Since, other.Since), cmp.Compare(r.ID, other.ID))
}
