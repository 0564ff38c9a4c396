package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/server/v3/lease/leasepb"
	"google.golang.org/protobuf/proto"

	"github.com/stele-db/stele/logstructured/hashkv"
)

// OpenOptions are the options of [Open].
type OpenOptions struct {
	// AllowNoChecksum accepts a file without checksum, such as the database member/snap/db of a stopped etcd.
	AllowNoChecksum bool
}

// Info describes a snapshot.
type Info struct {
	// Size is the size of the file in bytes, including the checksum.
	Size int64
	// Digest is the SHA-256 of the database. Verified reports that the file ends with the same digest.
	Digest   [sha256.Size]byte
	Verified bool
	// StorageVersion is the version of etcd whose format the file has, such as "3.7.0", or empty before 3.6.
	// ClusterVersion is the version of the cluster.
	StorageVersion, ClusterVersion string
	// Revision is the current revision, at least 1.
	Revision int64
	// CompactRevision is -1 if there was no compaction. Older entries that are no longer visible may still be in the
	// file.
	CompactRevision int64
	// ConsistentIndex and Term are the position of the etcd member in its raft log.
	ConsistentIndex, Term uint64
}

// File is a snapshot to read. Its methods may be called concurrently.
type File struct {
	info Info
	db   *bbolt.DB
}

// lockPatience is how long Open waits for an etcd that has the file open.
const lockPatience = time.Second

// Open reads the whole file once to verify its checksum, and opens it. It returns [ErrCorrupt], [ErrNoChecksum] or an
// error of the file system.
func Open(path string, opts OpenOptions) (*File, error) {
	f := &File{}
	if err := f.verify(path, opts); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	err := guarded(func() (err error) {
		f.db, err = bbolt.Open(path, 0, &bbolt.Options{ReadOnly: true, Timeout: lockPatience})
		return err
	})
	switch {
	case errors.Is(err, bbolterrors.ErrTimeout):
		return nil, fmt.Errorf("%s: another process has it open; stop the etcd, or take a snapshot of it", path)
	case err != nil && !errors.Is(err, ErrCorrupt):
		return nil, fmt.Errorf("%s: %w: %w", path, ErrCorrupt, err)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := f.readInfo(); err != nil {
		_ = f.db.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// verify computes the digest of the database and compares it with the digest that follows, if there is one. The size of
// the file shows whether there is, because the length of the database is a multiple of 512 bytes.
func (f *File) verify(path string, opts OpenOptions) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	stat, err := file.Stat()
	if err != nil {
		return err
	}
	f.info.Size = stat.Size()
	content := f.info.Size
	if f.info.Verified = content%512 == sha256.Size; f.info.Verified {
		content -= sha256.Size
	}
	digest := sha256.New()
	if _, err := io.CopyN(digest, file, content); err != nil {
		return err
	}
	copy(f.info.Digest[:], digest.Sum(nil))
	if !f.info.Verified {
		if !opts.AllowNoChecksum {
			return ErrNoChecksum
		}
		return nil
	}
	var said [sha256.Size]byte
	if _, err := io.ReadFull(file, said[:]); err != nil {
		return err
	}
	if said != f.info.Digest {
		return fmt.Errorf("%w: its checksum is %x, and should be %x", ErrCorrupt, f.info.Digest, said)
	}
	return nil
}

func (f *File) readInfo() error {
	return f.view(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketKey, bucketMeta} {
			if tx.Bucket(name) == nil {
				return fmt.Errorf("%w: there is no bucket %q", ErrCorrupt, name)
			}
		}
		meta := tx.Bucket(bucketMeta)
		f.info.Revision, f.info.CompactRevision = 1, -1
		// etcd finishes a scheduled compaction when it restarts.
		for _, name := range [][]byte{metaFinishedCompact, metaScheduledCompact} {
			if value := meta.Get(name); value != nil {
				revision, _, _, err := parseRevision(value)
				if err != nil {
					return err
				}
				f.info.CompactRevision = max(f.info.CompactRevision, revision)
			}
		}
		f.info.Revision = max(f.info.Revision, f.info.CompactRevision)
		if last, _ := tx.Bucket(bucketKey).Cursor().Last(); last != nil {
			revision, _, _, err := parseRevision(last)
			if err != nil {
				return err
			}
			f.info.Revision = max(f.info.Revision, revision)
		}
		f.info.StorageVersion = string(meta.Get(metaStorageVersion))
		f.info.ConsistentIndex, f.info.Term = number(meta.Get(metaConsistentIndex)), number(meta.Get(metaTerm))
		if cluster := tx.Bucket(bucketCluster); cluster != nil {
			f.info.ClusterVersion = string(cluster.Get(clusterVersion))
		}
		return nil
	})
}

// number returns 0 for a missing value.
func number(b []byte) uint64 {
	if len(b) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

// Info describes the snapshot.
func (f *File) Info() Info { return f.info }

// Close closes the file.
func (f *File) Close() error { return f.db.Close() }

// Entries returns the number of entries of the history, including those that [File.Revisions] skips.
func (f *File) Entries() (entries int, err error) {
	err = f.view(func(tx *bbolt.Tx) error {
		entries = tx.Bucket(bucketKey).Stats().KeyN
		return nil
	})
	return entries, err
}

// Revisions calls fn with the entries of the history after the given revision and sub-revision, in order, until fn
// returns an error, which Revisions returns. (0, 0) is before all entries: etcd's first revision is 2. fn may keep its
// argument. Revisions skips entries without a key, which tools add to raise the current revision.
func (f *File) Revisions(afterMain, afterSub int64, fn func(Revision) error) error {
	return f.view(func(tx *bbolt.Tx) error {
		cursor := tx.Bucket(bucketKey).Cursor()
		// The key of a tombstone sorts after the key of a put with the same revision.
		first := hashkv.AppendRevision(nil, afterMain, afterSub, true)
		k, v := cursor.Seek(first)
		if bytes.Equal(k, first) {
			k, v = cursor.Next()
		}
		for k != nil {
			revision, err := parseEntry(k, v)
			if err != nil {
				return err
			}
			if len(revision.KV.Key) > 0 {
				if err := fn(revision); err != nil {
					return err
				}
			}
			k, v = cursor.Next()
		}
		return nil
	})
}

func parseEntry(k, v []byte) (r Revision, err error) {
	r.KV = &mvccpb.KeyValue{}
	if r.Main, r.Sub, r.Tombstone, err = parseRevision(k); err != nil {
		return r, err
	}
	if err := proto.Unmarshal(v, r.KV); err != nil {
		return r, fmt.Errorf("%w: revision %d/%d: %w", ErrCorrupt, r.Main, r.Sub, err)
	}
	if !r.Tombstone && len(r.KV.Key) > 0 && r.KV.ModRevision != r.Main {
		return r, fmt.Errorf("%w: revision %d/%d is said to be %d", ErrCorrupt, r.Main, r.Sub, r.KV.ModRevision)
	}
	return r, nil
}

// Leases returns all leases, those with negative IDs last.
func (f *File) Leases() (leases []Lease, err error) {
	err = f.each(bucketLease, func(_, v []byte) error {
		var l leasepb.Lease
		if err := proto.Unmarshal(v, &l); err != nil {
			return fmt.Errorf("%w: a lease: %w", ErrCorrupt, err)
		}
		lease := Lease{ID: l.ID, TTL: l.TTL, Remaining: l.RemainingTTL}
		if lease.Remaining <= 0 {
			lease.Remaining = lease.TTL
		}
		leases = append(leases, lease)
		return nil
	})
	return leases, err
}

// Auth returns users and roles.
func (f *File) Auth() (*Auth, error) {
	auth := &Auth{}
	err := f.each(bucketAuth, func(k, v []byte) error {
		switch {
		case bytes.Equal(k, authEnabled):
			if len(v) != 1 || v[0] > 1 {
				return fmt.Errorf("%w: whether auth is enabled is neither 0 nor 1, but %x", ErrCorrupt, v)
			}
			auth.Enabled = v[0] == 1
		case bytes.Equal(k, authRevision):
			auth.Revision = number(v)
		}
		return nil
	})
	for _, kind := range []struct {
		bucket []byte
		items  *[]Item
	}{{bucketAuthUsers, &auth.Users}, {bucketAuthRoles, &auth.Roles}} {
		if err != nil {
			break
		}
		err = f.each(kind.bucket, func(k, v []byte) error {
			*kind.items = append(*kind.items, Item{string(k), bytes.Clone(v)})
			return nil
		})
	}
	return auth, err
}

// each calls fn with each item of a bucket, which may be missing.
func (f *File) each(bucket []byte, fn func(k, v []byte) error) error {
	return f.view(func(tx *bbolt.Tx) error {
		if b := tx.Bucket(bucket); b != nil {
			return b.ForEach(fn)
		}
		return nil
	})
}

func (f *File) view(fn func(*bbolt.Tx) error) error {
	return guarded(func() error { return f.db.View(fn) })
}

// guarded turns a panic of bbolt over an invalid page, and a fault at a page beyond the end of the file, into an error.
func guarded(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrCorrupt, p)
		}
	}()
	return fn()
}
