package snapshot

import (
	"hash/crc32"

	"go.etcd.io/bbolt"
)

// HashKV hashes the history up to revision (0: the current one), as an etcd would that serves the snapshot.
func (f *File) HashKV(revision int64) (sum uint32, err error) {
	if revision == 0 {
		revision = f.info.Revision
	}
	compact := f.info.CompactRevision
	// Of what is up to the compact revision counts only what is still visible at revision: at most one entry of each
	// key. But if nothing at all is visible at revision etcd leaves nothing out.
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
	if err != nil && err != errEnough { //nolint:errorlint // it is this one, unwrapped
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
