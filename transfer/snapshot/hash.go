package snapshot

import (
	"hash/crc32"

	"go.etcd.io/bbolt"
)

// HashKV returns the hash of the history up to revision, as an etcd with this snapshot would. 0 is the current
// revision.
func (f *File) HashKV(revision int64) (sum uint32, err error) {
	if revision == 0 {
		revision = f.info.Revision
	}
	compact := f.info.CompactRevision
	// Of the entries up to the compact revision, only the entries visible at revision count: at most one of each key.
	// But if none of them is visible, etcd counts all of them.
	visible := map[string]int64{}
	err = f.Revisions(0, 0, func(r Revision) error {
		if r.Main > revision {
			return errEnough
		}
		if r.Tombstone {
			delete(visible, string(r.KV.Key))
		} else {
			visible[string(r.KV.Key)] = r.Main
		}
		return nil
	})
	if err != nil && err != errEnough { //nolint:errorlint // never wrapped
		return 0, err
	}
	crc := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	crc.Write(bucketKey)
	err = f.view(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketKey).ForEach(func(k, v []byte) error {
			r, err := parseEntry(k, v)
			if err != nil {
				return err
			}
			switch {
			case r.Main > revision, len(r.KV.Key) == 0:
				return nil
			case r.Main <= compact && len(visible) > 0 && (r.Tombstone || visible[string(r.KV.Key)] != r.Main):
				return nil
			case r.Main == compact && r.Tombstone:
				return nil
			}
			crc.Write(k)
			crc.Write(v)
			return nil
		})
	})
	return crc.Sum32(), err
}
