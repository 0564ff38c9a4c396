package logstructured

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
)

// Options configure a [Store].
type Options struct {
	// Logger is required.
	Logger *logrus.Entry
	// Registerer receives the store's metrics; nil registers none.
	Registerer prometheus.Registerer
	// ValueCacheBytes bounds the values kept in memory; 0 is 256 MiB, negative none.
	ValueCacheBytes int64
	// RequestTimeout ends requests whose context has no earlier deadline; 0 is 7 s, as etcd's default.
	RequestTimeout time.Duration
	// PollInterval is how often the end of the log is looked at for entries of other processes; 0 is 10 ms.
	PollInterval time.Duration
	// CompactRetention is how long the rows of superseded revisions stay in the database after the compaction that
	// made them unreachable, for replicas that lag; 0 is 5 minutes.
	CompactRetention time.Duration
	// ProgressInterval is the period of watch progress notifications; 0 is 10 minutes, as etcd's default.
	ProgressInterval time.Duration
}

// MaxLeaseTTL is the largest TTL of a lease, in seconds; etcd's.
const MaxLeaseTTL = 9_000_000_000

// Open reads the log's metadata and builds the index. The store takes over log: Close of the
// log is called when Run returns, or by Open itself if it fails.
func Open(ctx context.Context, log Log, opts Options) (*Store, error) { panic("TODO") }

// Store is etcd's MVCC store over a [Log]. All methods may be called concurrently, from Open until Run returns.
type Store struct{}

// Run appends, follows, expires and compacts until ctx ends; then it lets the append that is under way finish,
// ends all requests and watch streams with [ErrStopped], closes the log and returns. A failing database is
// no reason to return.
func (s *Store) Run(ctx context.Context) error { panic("TODO") }

// Range reads keys.
func (s *Store) Range(ctx context.Context, r *RangeRequest) (*RangeResult, error) { panic("TODO") }

// Put writes one key.
func (s *Store) Put(ctx context.Context, r *PutRequest) (*PutResult, error) { panic("TODO") }

// DeleteRange deletes keys.
func (s *Store) DeleteRange(ctx context.Context, r *DeleteRangeRequest) (*DeleteRangeResult, error) {
	panic("TODO")
}

// Txn runs a transaction.
func (s *Store) Txn(ctx context.Context, r *TxnRequest) (*TxnResult, error) { panic("TODO") }

// Compact makes revisions below revision unreadable, at once and for every client, and returns the current revision.
// With physical it also waits until the rows whose retention is over were deleted.
func (s *Store) Compact(ctx context.Context, revision Revision, physical bool) (Revision, error) {
	panic("TODO")
}

// LeaseGrant grants a lease of ttl seconds; id 0 lets the store choose.
func (s *Store) LeaseGrant(ctx context.Context, id LeaseID, ttl int64) (*LeaseGrantResult, error) {
	panic("TODO")
}

// HashKV hashes the history up to revision (0: the current one).
func (s *Store) HashKV(ctx context.Context, revision Revision) (*HashKVResult, error) { panic("TODO") }

// Hash hashes everything stored, as etcd's Hash does.
func (s *Store) Hash(ctx context.Context) (hash uint32, revision Revision, err error) { panic("TODO") }

// Defragment gives free space back to the file system.
func (s *Store) Defragment(ctx context.Context) error { panic("TODO") }

// Status asks the database for its size and describes the store.
func (s *Store) Status(ctx context.Context) (*Status, error) { panic("TODO") }

// Revision returns the current revision as applied here.
func (s *Store) Revision() Revision { panic("TODO") }

// ClusterID is the identity of the store in the database, non-zero.
func (s *Store) ClusterID() uint64 { panic("TODO") }

// Term is the raft term of response headers.
func (s *Store) Term() uint64 { panic("TODO") }

// Ready returns nil when a linearizable read succeeds.
func (s *Store) Ready(ctx context.Context) error { panic("TODO") }

// NewWatchStream returns a stream without watchers. The caller must Close it.
func (s *Store) NewWatchStream() *WatchStream { panic("TODO") }
