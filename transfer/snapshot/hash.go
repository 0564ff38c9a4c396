package snapshot

import (
	"go.etcd.io/bbolt"

	"github.com/stele-db/stele/logstructured/hashkv"
)

// HashKV returns the hash of the history up to revision, as an etcd with this snapshot would. 0 is the current
// revision.
func (f *File) HashKV(revision int64) (sum uint32, err error) {
	if revision == 0 {
		revision = f.info.Revision
	}
	selection := hashkv.NewSelection(f.info.CompactRevision, revision)
	err = f.Revisions(0, 0, func(r Revision) error {
		selection.Observe(r.KV.Key, r.Main, r.Tombstone)
		return nil
	})
	if err != nil {
		return 0, err
	}
	hash := hashkv.New()
	err = f.view(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketKey).ForEach(func(k, v []byte) error {
			r, err := parseEntry(k, v)
			if err == nil && len(r.KV.Key) > 0 && selection.Covers(r.KV.Key, r.Main, r.Tombstone) {
				hash.AddStored(k, v)
			}
			return err
		})
	})
	return hash.Sum(), err
}
