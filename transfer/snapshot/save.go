package snapshot

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/hashkv"
	"github.com/stele-db/stele/logstructured/log"
	"github.com/stele-db/stele/pkg/version"
	"github.com/stele-db/stele/server/auth"
)

// Build writes an export to the file path, without checksum, and returns its HashKV. progress, if not nil, is called
// occasionally with the number of written entries and of all entries.
func Build(ctx context.Context, path string, x *logstructured.Export, progress func(written, of int)) (hashKV uint32,
	err error) {
	w, err := Create(path)
	if err != nil {
		return 0, err
	}
	return w.build(ctx, x, progress)
}

// build writes an export and finishes the file, or aborts it.
func (w *Writer) build(ctx context.Context, x *logstructured.Export, progress func(written, of int)) (hashKV uint32,
	err error) {
	if err := auth.Read(x.Records).Err(); err != nil {
		return 0, errors.Join(err, w.Abort())
	}
	written := 0
	hashKV, err = x.Read(ctx, func(entries []log.Entry) error {
		for i := range entries {
			if err := w.Put(revision(&entries[i])); err != nil {
				return err
			}
		}
		written += len(entries)
		if progress != nil {
			progress(written, x.Len())
		}
		return ctx.Err()
	})
	if err != nil {
		return 0, errors.Join(err, w.Abort())
	}
	return hashKV, w.Finish(meta(x))
}

func revision(e *log.Entry) Revision {
	return Revision{
		Main: int64(e.Revision), Sub: e.Sub, Tombstone: e.Kind == log.KindTombstone, KV: hashkv.KeyValue(e),
	}
}

func meta(x *logstructured.Export) Meta {
	m := Meta{
		Revision: int64(x.Revision), CompactRevision: int64(x.CompactRevision),
		Index: uint64(max(x.Position, 1)), Term: x.Term,
		StorageVersion: version.EtcdCluster, ClusterVersion: version.EtcdCluster,
	}
	for _, l := range x.Leases {
		m.Leases = append(m.Leases, Lease{ID: int64(l.ID), TTL: l.TTL, Remaining: l.Remaining})
	}
	m.Auth = authOf(x.Records)
	return m
}

func authOf(records logstructured.Records) Auth {
	a := Auth{Revision: 1} // etcd's initial value
	_, a.Enabled = records.Get(auth.RecordEnabled)
	if revision, ok := records.Get(auth.RecordRevision); ok {
		a.Revision = number(revision)
	}
	for _, kind := range []struct {
		prefix string
		items  *[]Item
	}{{auth.UserPrefix, &a.Users}, {auth.RolePrefix, &a.Roles}} {
		records.Ascend(kind.prefix, func(name string, value []byte) bool {
			*kind.items = append(*kind.items, Item{name[len(kind.prefix):], value})
			return true
		})
	}
	return a
}

// AppendChecksum completes a file of [Build], so that etcd's tools accept it, and makes it durable.
func AppendChecksum(path string) (err error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	digest := sha256.New()
	if _, err := io.Copy(digest, file); err != nil {
		return err
	}
	if _, err := file.Write(digest.Sum(nil)); err != nil { // the copy has read up to the end
		return err
	}
	return file.Sync()
}
