package logstructured

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/stele-db/stele/logstructured/log"
)

// Digest summarizes the readable part of a history: its live keys, and all of its writes from the compact revision on.
type Digest struct {
	// Keys is the number of live keys at the end.
	Keys int
	// Writes is the number of writes above the compact revision, tombstones included, and of those current at it.
	Writes int
	// Sum covers key, value, revision, sub-revision, create revision, version and lease of these writes.
	Sum [2]uint64
}

// Digester computes the Digest of writes that are added in the order of their revisions. It keeps 50 to 100 bytes for
// each key.
type Digester struct {
	compact Revision
	digest  Digest
	newest  map[[16]byte]digested
}

// digested is the newest write of a live key.
type digested struct {
	sum [2]uint64
	// compacted reports whether the write is at or below the compact revision: the next such write of its key makes it
	// unreadable.
	compacted bool
}

// NewDigester returns a Digester for a history that is compacted at a revision, 0 or less if it is not.
func NewDigester(compact Revision) *Digester {
	return &Digester{compact: compact, newest: map[[16]byte]digested{}}
}

// Add adds a put or a tombstone; it ignores other entries.
func (d *Digester) Add(e *log.Entry) {
	if e.Kind != log.KindPut && e.Kind != log.KindTombstone {
		return
	}
	key := [16]byte(sum256(e.Key))
	compacted := e.Revision <= d.compact
	if previous, ok := d.newest[key]; ok && previous.compacted && compacted {
		d.digest.Writes--
		d.digest.Sum[0] -= previous.sum[0]
		d.digest.Sum[1] -= previous.sum[1]
	}
	sum := entrySum(e)
	if !compacted || e.Kind == log.KindPut {
		d.digest.Writes++
		d.digest.Sum[0] += sum[0]
		d.digest.Sum[1] += sum[1]
	}
	if e.Kind == log.KindPut {
		d.newest[key] = digested{sum, compacted}
	} else {
		delete(d.newest, key)
	}
}

// Digest returns the digest of the writes added so far.
func (d *Digester) Digest() Digest {
	d.digest.Keys = len(d.newest)
	return d.digest
}

func sum256(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:16]
}

// entrySum hashes the fields that a source and a log have in common.
func entrySum(e *log.Entry) [2]uint64 {
	h := sha256.New()
	var head [56]byte
	for i, n := range []uint64{
		uint64(e.Kind), uint64(e.Revision), uint64(e.Sub), uint64(e.CreateRevision),
		uint64(e.Version), uint64(e.Lease), uint64(len(e.Key)),
	} {
		binary.BigEndian.PutUint64(head[8*i:], n)
	}
	h.Write(head[:])
	h.Write(e.Key)
	h.Write(e.Value)
	sum := h.Sum(nil)
	return [2]uint64{binary.BigEndian.Uint64(sum), binary.BigEndian.Uint64(sum[8:])}
}

// Digest reads the whole log again, values included, and returns its digest for a compact revision. If progress is not
// nil, Digest calls it with the number of entries read so far.
func (m *Import) Digest(ctx context.Context, compact Revision, progress func(entries int)) (Digest, error) {
	if err := m.Flush(ctx); err != nil {
		return Digest{}, err
	}
	d := NewDigester(compact)
	read := 0
	for at := log.Position(0); at < m.head.Position; {
		entries, end, err := m.log.Read(ctx, at, maxImportEntries)
		switch {
		case err != nil:
			return Digest{}, fmt.Errorf("%w (read the log)", err)
		case end.Head != m.head:
			return Digest{}, fmt.Errorf("%w: something else writes to it", ErrImportTarget)
		case len(entries) == 0 || entries[0].Position != at+1:
			return Digest{}, fmt.Errorf("%w: there is no entry at position %d", log.ErrCorrupt, at+1)
		}
		for i := range entries {
			d.Add(&entries[i])
		}
		at = entries[len(entries)-1].Position
		read += len(entries)
		if progress != nil {
			progress(read)
		}
	}
	return d.Digest(), nil
}

// HashKV reads the whole log again and hashes it as [Store.HashKV] does, for a history with these current and compact
// revisions.
func (m *Import) HashKV(ctx context.Context, revision, compact Revision) (uint32, error) {
	if err := m.Flush(ctx); err != nil {
		return 0, err
	}
	st, _, _, err := loadLog(ctx, m.log)
	if err != nil {
		return 0, err
	}
	if compact > 0 {
		st.compact = compact
	}
	v := &values{log: m.log, alert: func(error) {}}
	return v.hash(ctx, st.hashed(revision))
}
