// Package hashkv computes etcd's HashKV: a checksum of a history in the form in which etcd's key bucket stores it. Two
// stores with the same history have the same HashKV.
package hashkv

import (
	"encoding/binary"
	"errors"
	"hash"
	"hash/crc32"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"github.com/stele-db/stele/logstructured/log"
)

// Bucket is the name of etcd's bucket of the history.
const Bucket = "key"

// AppendRevision appends an entry's key in the bucket: revision, '_', sub-revision, and 't' for a tombstone.
func AppendRevision(b []byte, revision, sub int64, tombstone bool) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(revision))
	b = append(b, '_')
	b = binary.BigEndian.AppendUint64(b, uint64(sub))
	if tombstone {
		b = append(b, 't')
	}
	return b
}

// KeyValue returns the value of a put or a tombstone in the bucket.
func KeyValue(e *log.Entry) *mvccpb.KeyValue {
	if e.Kind == log.KindTombstone {
		return &mvccpb.KeyValue{Key: e.Key}
	}
	return &mvccpb.KeyValue{
		Key: e.Key, Value: e.Value, CreateRevision: int64(e.CreateRevision), ModRevision: int64(e.Revision),
		Version: e.Version, Lease: int64(e.Lease),
	}
}

// Hash hashes entries in the order of their revisions.
type Hash struct {
	crc hash.Hash32
	buf []byte
}

// New returns the hash of an empty history.
func New() *Hash {
	h := &Hash{crc: crc32.New(crc32.MakeTable(crc32.Castagnoli))}
	h.crc.Write([]byte(Bucket))
	return h
}

// Add hashes a put or a tombstone.
func (h *Hash) Add(e *log.Entry) (err error) {
	h.buf = AppendRevision(h.buf[:0], int64(e.Revision), e.Sub, e.Kind == log.KindTombstone)
	h.crc.Write(h.buf)
	h.buf, err = (proto.MarshalOptions{Deterministic: true}).MarshalAppend(h.buf[:0], KeyValue(e))
	h.crc.Write(h.buf)
	return err
}

// AddStored hashes an entry of etcd's bucket.
func (h *Hash) AddStored(k, v []byte) {
	h.crc.Write(k)
	h.crc.Write(v)
}

// Sum returns the hash of the entries added so far.
func (h *Hash) Sum() uint32 { return h.crc.Sum32() }

// Sums are the HashKV at the current revision and at the compact revision. Together they cover all entries that clients
// can read: the first one leaves out those that were superseded after the compact revision but are current at it.
type Sums struct{ Current, Compacted uint32 }

// History computes the Sums of a history that is read twice in the order of its revisions: once for
// [History.Observe], and then for [History.Add].
type History struct {
	selection          *Selection
	current, compacted *Hash
}

// NewHistory returns the History for a compact revision (0 or less if there is none) and a current revision.
func NewHistory(compact, current log.Revision) *History {
	return &History{selection: NewSelection(int64(compact), int64(current)), current: New(), compacted: New()}
}

// Observe notes an entry of the first reading.
func (h *History) Observe(e *log.Entry) {
	h.selection.Observe(e.Key, int64(e.Revision), e.Kind == log.KindTombstone)
}

// Add hashes an entry of the second reading.
func (h *History) Add(e *log.Entry) (err error) {
	tombstone := e.Kind == log.KindTombstone
	if h.selection.Covers(e.Key, int64(e.Revision), tombstone) {
		err = h.current.Add(e)
	}
	if h.selection.CoversCompacted(e.Key, int64(e.Revision), tombstone) {
		err = errors.Join(err, h.compacted.Add(e))
	}
	return err
}

// Sums returns the hashes of the entries added so far.
func (h *History) Sums() Sums { return Sums{Current: h.current.Sum(), Compacted: h.compacted.Sum()} }
