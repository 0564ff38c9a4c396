package snapshot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/server/v3/lease/leasepb"
	"google.golang.org/protobuf/proto"

	"github.com/stele-db/stele/logstructured/hashkv"
)

// commitBytes is the size at which a transaction of bbolt, which is held in memory, is committed.
const commitBytes = 8 << 20

// Meta is the content of a snapshot other than the history.
type Meta struct {
	// Revision is the current revision, CompactRevision -1 if there was no compaction.
	Revision, CompactRevision int64
	// Index and Term are the position of the server in its log. They must be positive. A restore replaces them.
	Index, Term uint64
	// StorageVersion and ClusterVersion are versions such as "3.7.0".
	StorageVersion, ClusterVersion string
	Leases                         []Lease
	Auth                           Auth
}

// Writer writes the database of a snapshot. It must be used by one goroutine only, which calls [Writer.Finish] or
// [Writer.Abort] at the end.
type Writer struct {
	path    string
	file    *os.File
	db      *bbolt.DB
	tx      *bbolt.Tx
	history *bbolt.Bucket
	// pending approximates the bytes that are not committed.
	pending int
	// last is the key of the newest entry, and main its revision.
	last []byte
	main int64
}

// Create creates the file path, which only its owner can read. The file must not exist.
func Create(path string) (w *Writer, err error) {
	// No program reads the file before it is finished.
	opts := &bbolt.Options{NoSync: true, NoGrowSync: true, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType}
	w = &Writer{path: path}
	opts.OpenFile = func(name string, flag int, mode os.FileMode) (_ *os.File, err error) {
		w.file, err = os.OpenFile(name, flag|os.O_EXCL, mode)
		return w.file, err
	}
	if w.db, err = bbolt.Open(path, 0o600, opts); err != nil {
		return nil, err
	}
	err = w.begin()
	for _, name := range buckets {
		if err == nil {
			_, err = w.tx.CreateBucketIfNotExists(name)
		}
	}
	if err == nil {
		err = w.commit()
	}
	if err != nil {
		return nil, errors.Join(err, w.Abort())
	}
	return w, nil
}

func (w *Writer) begin() (err error) {
	if w.tx, err = w.db.Begin(true); err != nil {
		return err
	}
	if w.history = w.tx.Bucket(bucketKey); w.history != nil {
		w.history.FillPercent = 1 // entries come in order, so pages are never split by later insertions
	}
	return nil
}

func (w *Writer) commit() error {
	if err := w.tx.Commit(); err != nil {
		return err
	}
	w.pending = 0
	return w.begin()
}

// Put adds an entry of the history. It must be later than the previous one.
func (w *Writer) Put(r Revision) error {
	k := hashkv.AppendRevision(nil, r.Main, r.Sub, r.Tombstone)
	if bytes.Compare(k, w.last) <= 0 {
		return fmt.Errorf("revision %d/%d comes after %x", r.Main, r.Sub, w.last)
	}
	v, err := (proto.MarshalOptions{Deterministic: true}).Marshal(r.KV)
	if err != nil {
		return err
	}
	if err := w.history.Put(k, v); err != nil {
		return err
	}
	w.last, w.main = k, r.Main
	if w.pending += len(k) + len(v); w.pending >= commitBytes {
		return w.commit()
	}
	return nil
}

// Finish adds the other content and closes the file, which then holds the database without its checksum.
func (w *Writer) Finish(m Meta) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Abort())
		}
	}()
	if m.Revision > w.main && m.Revision > m.CompactRevision {
		// etcd takes the revision of the newest entry as the current one. A tombstone without a key is invisible to
		// readers and watchers.
		if err := w.history.Put(hashkv.AppendRevision(nil, m.Revision, 0, true), nil); err != nil {
			return err
		}
	}
	for _, put := range []func(Meta) error{w.putMeta, w.putLeases, w.putAuth} {
		if err := put(m); err != nil {
			return err
		}
	}
	if err := w.tx.Commit(); err != nil {
		return err
	}
	w.tx = nil
	return w.close()
}

// close truncates the file to the pages in use.
func (w *Writer) close() error {
	var size int64
	err := w.db.View(func(tx *bbolt.Tx) error {
		size = tx.Size()
		return nil
	})
	if err == nil {
		err = w.file.Truncate(size) // not by path: the file may no longer have a name
	}
	return errors.Join(err, w.db.Close())
}

// Abort removes the file, if it still has its name.
func (w *Writer) Abort() error {
	if w.tx != nil {
		_ = w.tx.Rollback() // it fails if the transaction has ended
		w.tx = nil
	}
	err := os.Remove(w.path)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(w.db.Close(), err)
}

func (w *Writer) putMeta(m Meta) error {
	meta := w.tx.Bucket(bucketMeta)
	values := map[string][]byte{
		string(metaConsistentIndex): binary.BigEndian.AppendUint64(nil, m.Index),
		string(metaTerm):            binary.BigEndian.AppendUint64(nil, m.Term),
		string(metaStorageVersion):  []byte(m.StorageVersion),
		// The state has no voters: a restore writes the members that it is given.
		string(metaConfState): []byte(`{"auto_leave":false}`),
	}
	if m.CompactRevision >= 0 {
		compact := hashkv.AppendRevision(nil, m.CompactRevision, 0, false)
		values[string(metaScheduledCompact)], values[string(metaFinishedCompact)] = compact, compact
	}
	for k, v := range values {
		if err := meta.Put([]byte(k), v); err != nil {
			return err
		}
	}
	return w.tx.Bucket(bucketCluster).Put(clusterVersion, []byte(m.ClusterVersion))
}

func (w *Writer) putLeases(m Meta) error {
	leases := w.tx.Bucket(bucketLease)
	for _, l := range m.Leases {
		stored := &leasepb.Lease{ID: l.ID, TTL: l.TTL}
		if l.Remaining < l.TTL {
			stored.RemainingTTL = max(l.Remaining, 1)
		}
		v, err := proto.Marshal(stored)
		if err != nil {
			return err
		}
		if err := leases.Put(binary.BigEndian.AppendUint64(nil, uint64(l.ID)), v); err != nil {
			return err
		}
	}
	return nil
}

func (w *Writer) putAuth(m Meta) error {
	auth := w.tx.Bucket(bucketAuth)
	enabled := []byte{0}
	if m.Auth.Enabled {
		enabled[0] = 1
	}
	if err := auth.Put(authEnabled, enabled); err != nil {
		return err
	}
	if err := auth.Put(authRevision, binary.BigEndian.AppendUint64(nil, m.Auth.Revision)); err != nil {
		return err
	}
	for _, kind := range []struct {
		bucket []byte
		items  []Item
	}{{bucketAuthUsers, m.Auth.Users}, {bucketAuthRoles, m.Auth.Roles}} {
		bucket := w.tx.Bucket(kind.bucket)
		for _, item := range kind.items {
			if err := bucket.Put([]byte(item.Name), item.Value); err != nil {
				return err
			}
		}
	}
	return nil
}
