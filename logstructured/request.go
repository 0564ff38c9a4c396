package logstructured

import (
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/stele-db/stele/logstructured/log"
)

// Op is one operation of a transaction: [*RangeRequest], [*PutRequest], [*DeleteRangeRequest] or [*TxnRequest].
type Op interface{ op() }

func (*RangeRequest) op()       {}
func (*PutRequest) op()         {}
func (*DeleteRangeRequest) op() {}
func (*TxnRequest) op()         {}

// OpResult is the result of an [Op]: [*RangeResult], [*PutResult], [*DeleteRangeResult] or [*TxnResult].
type OpResult interface{ opResult() }

func (*RangeResult) opResult()       {}
func (*PutResult) opResult()         {}
func (*DeleteRangeResult) opResult() {}
func (*TxnResult) opResult()         {}

// SortTarget is the field that a range result is ordered by.
type SortTarget uint8

// Sort targets, in etcd's numbering.
const (
	SortByKey SortTarget = iota
	SortByVersion
	SortByCreateRevision
	SortByModRevision
	SortByValue
)

// SortOrder is the direction of a range result.
type SortOrder uint8

// Sort orders, in etcd's numbering. SortNone means ascending when the target is not the key.
const (
	SortNone SortOrder = iota
	SortAscend
	SortDescend
)

// RangeRequest reads keys. With the zero values of all options it reads everything in the range at the current
// revision.
type RangeRequest struct {
	KeyRange
	// Revision to read at; 0 or less is the current one.
	Revision Revision
	// Limit on the number of keys returned; 0 or less is none.
	Limit      int64
	SortTarget SortTarget
	SortOrder  SortOrder
	// Serializable reads do not query the database for the log's head. The option is ignored inside a transaction.
	Serializable bool
	KeysOnly     bool
	CountOnly    bool
	// The filters; 0 is none.
	MinModRevision, MaxModRevision       Revision
	MinCreateRevision, MaxCreateRevision Revision
	// Budget bounds the keys and values that are read; nil is no bound. More is true if it cuts the answer.
	Budget Budget
}

// RangeResult is the outcome of a [RangeRequest].
type RangeResult struct {
	// Revision is the current revision of the snapshot that answered, whatever revision was read.
	Revision Revision
	// KVs belong to the caller, but their keys and values are shared and must not be modified.
	KVs []*mvccpb.KeyValue
	// More is set if the limit or the budget cut the result.
	More bool
	// Count is the number of keys in the range, regardless of limit and filters.
	Count int64
}

// PutRequest writes a key.
type PutRequest struct {
	Key, Value  []byte
	Lease       LeaseID
	PrevKV      bool
	IgnoreValue bool
	IgnoreLease bool
}

// PutResult is the outcome of a [PutRequest].
type PutResult struct {
	Revision Revision
	// PrevKV is nil unless it was requested and the key existed.
	PrevKV *mvccpb.KeyValue
}

// DeleteRangeRequest deletes keys.
type DeleteRangeRequest struct {
	KeyRange
	PrevKV bool
}

// DeleteRangeResult is the outcome of a [DeleteRangeRequest].
type DeleteRangeResult struct {
	Revision Revision
	Deleted  int64
	// PrevKVs is nil unless it was requested.
	PrevKVs []*mvccpb.KeyValue
}

// CompareTarget is the field that a [Compare] compares.
type CompareTarget uint8

// Compare targets, in etcd's numbering.
const (
	CompareVersion CompareTarget = iota
	CompareCreateRevision
	CompareModRevision
	CompareValue
	CompareLease
)

// CompareResult is the relation that a [Compare] requires.
type CompareResult uint8

// Compare results, in etcd's numbering.
const (
	CompareEqual CompareResult = iota
	CompareGreater
	CompareLess
	CompareNotEqual
)

// Compare is one condition of a transaction. Over a range it must hold for every key in it. A Target or Result outside
// the enumeration compares as etcd does: an unknown target as equal, an unknown result as true.
type Compare struct {
	KeyRange
	Target CompareTarget
	Result CompareResult
	// Number is compared with the version, a revision or the lease, and Value with the value.
	Number int64
	Value  []byte
}

// TxnRequest is an etcd transaction. Its operations may include transactions. A nil Op is skipped, as etcd skips an
// operation whose union is unset; its result is nil.
type TxnRequest struct {
	Compares []Compare
	Success  []Op
	Failure  []Op
	// Serializable transactions without writes do not query the database for the log's head.
	Serializable bool
}

// TxnResult is the outcome of a [TxnRequest].
type TxnResult struct {
	// Revision after the transaction. Of a nested transaction it is 0.
	Revision  Revision
	Succeeded bool
	// Results has one element for each operation of the branch taken.
	Results []OpResult
}

// HashKVResult is the answer of [Store.HashKV].
type HashKVResult struct {
	// Hash is CRC-32C as etcd computes it over the same history.
	Hash uint32
	// Revision is the current revision, HashRevision the one hashed.
	Revision, HashRevision, CompactRevision Revision
}

// LeaseGrantResult is the answer of [Store.LeaseGrant].
type LeaseGrantResult struct {
	Revision Revision
	ID       LeaseID
	// TTL in seconds.
	TTL int64
}

// LeaseTimeToLiveResult is the answer of [Store.LeaseTimeToLive].
type LeaseTimeToLiveResult struct {
	Revision Revision
	ID       LeaseID
	// TTL is the remaining and GrantedTTL the full time to live, in seconds.
	TTL, GrantedTTL int64
	// Keys are in key order, and nil unless they were requested.
	Keys []string
}

// Status describes the store for etcd's Status call.
type Status struct {
	ClusterID       uint64
	Revision        Revision
	CompactRevision Revision
	// Applied is the position of the newest applied entry, for etcd's raft indexes.
	Applied log.Position
	// Term counts from 1 and rises each time the database is found to have gone back in time.
	Term uint64
	// Size is the last known size if Lost is set.
	Size log.Size
	// Lost is set if the database does not answer.
	Lost bool
}

// Budget bounds the keys and values that answers hold until their clients have read them. A Budget belongs to one
// request, or to one stream of a client.
type Budget interface {
	// Take reserves room for an answer of most bytes of keys and values, and returns most. If there is less room it
	// returns less, but at least least, the bytes of the smallest answer; the caller then cuts the answer. Take may
	// wait. An error ends the request.
	Take(least, most int64) (int64, error)
}
