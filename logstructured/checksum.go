package logstructured

import (
	"fmt"

	"github.com/stele-db/stele/logstructured/log"
)

// verifyValue verifies a value that was read for r, and that was stored with checksum c.
func (r *row) verifyValue(value []byte, c log.Checksum) error {
	switch {
	case len(value) != int(r.size):
		return r.damaged(fmt.Sprintf("its value has %d bytes instead of %d", len(value), r.size))
	case !c.MatchesValue(value):
		return r.damaged("its value does not match its checksum")
	}
	return nil
}

func (r *row) damaged(how string) error {
	e := r.entry()
	return e.Damaged(how)
}

// entry returns the entry of a row, without its value and time, which a row does not keep.
func (r *row) entry() log.Entry {
	e := log.Entry{
		Position: r.position, ID: r.id, Kind: log.KindPut, Revision: r.revision, Sub: int64(r.sub),
		Key: r.key, ValueSize: int(r.size), CreateRevision: r.create, Version: r.version, Lease: r.lease,
	}
	if r.tombstone() {
		e.Kind = log.KindTombstone
	}
	return e
}
