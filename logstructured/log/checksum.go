package log

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"sync"
)

// Checksum covers all columns of one row of the log, so that damage in the database is reported and never served. It is
// 0 for a row without a checksum, which an earlier version wrote.
//
// The low half is the CRC-32C of the value. The high half is the CRC-32C of everything else, the low half included, so
// that a scan verifies the metadata, the size of the value and the checksum itself without reading the value. Position
// and append ID are part of it, so a row in another row's place is damage too. The time, which a database may set
// during the append, is added by XOR (see [Checksum.At]).
type Checksum uint64

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Seal sets Position, ID and Checksum of entries that are to be appended after head. Each checksum still lacks the
// time: the driver stores c.At(time), or has the database compute it.
func Seal(head Head, id AppendID, entries []Entry) {
	for i := range entries {
		e := &entries[i]
		e.Position, e.ID = head.Position+1+Position(i), id
		e.Checksum = e.checksum(len(e.Value), crc32.Checksum(e.Value, castagnoli))
	}
}

// Stamp sets Time of sealed entries, and adds it to their checksums.
func Stamp(entries []Entry, at Timestamp) {
	for i := range entries {
		entries[i].Time = at
		entries[i].Checksum = entries[i].Checksum.At(at)
	}
}

// At returns c with t added to it, or removed from it: c XOR ((t XOR (t >> 32)) << 32), in 64-bit integers.
func (c Checksum) At(t Timestamp) Checksum {
	folded := uint64(t) ^ uint64(t)>>32
	return c ^ Checksum(folded<<32)
}

// MatchesValue reports whether value fits c. Every value fits a row without a checksum.
func (c Checksum) MatchesValue(value []byte) bool {
	return c == 0 || crc32.Checksum(value, castagnoli) == c.value()
}

// value is the CRC-32C of the row's value.
func (c Checksum) value() uint32 { return uint32(c) }

// metadataSize is the number of bytes of all columns of fixed size, and of the size and the checksum of the value.
const metadataSize = 8*8 + 1 + 4

// metadataBuffers hold the input of checksums: a buffer on the stack would escape.
var metadataBuffers = sync.Pool{New: func() any { return new([metadataSize]byte) }}

// checksum computes the checksum, without the time, of an entry with a value of that size and CRC.
func (e *Entry) checksum(valueSize int, value uint32) Checksum {
	b, _ := metadataBuffers.Get().(*[metadataSize]byte)
	le := binary.LittleEndian
	le.PutUint64(b[0:], uint64(e.Position))
	le.PutUint64(b[8:], uint64(e.ID))
	le.PutUint64(b[16:], uint64(e.Revision))
	le.PutUint64(b[24:], uint64(e.Sub))
	le.PutUint64(b[32:], uint64(e.CreateRevision))
	le.PutUint64(b[40:], uint64(e.Version))
	le.PutUint64(b[48:], uint64(e.Lease))
	le.PutUint64(b[56:], uint64(valueSize))
	b[64] = byte(e.Kind)
	le.PutUint32(b[65:], value)
	sum := crc32.Update(crc32.Checksum(b[:], castagnoli), castagnoli, e.Key)
	metadataBuffers.Put(b)
	return Checksum(sum)<<32 | Checksum(value)
}

// VerifyMetadata returns an error that wraps [ErrCorrupt] if anything but the value differs from the appended entry. It
// needs ValueSize. A row without a checksum passes.
func (e *Entry) VerifyMetadata() error {
	if e.Checksum == 0 || e.checksum(e.ValueSize, e.Checksum.value()) == e.Checksum.At(e.Time) {
		return nil
	}
	return e.Damaged("its metadata does not match its checksum")
}

// Verify does what [Entry.VerifyMetadata] does, and verifies the value too.
func (e *Entry) Verify() error {
	if err := e.VerifyMetadata(); err != nil {
		return err
	}
	if !e.Checksum.MatchesValue(e.Value) {
		return e.Damaged("its value does not match its checksum")
	}
	return nil
}

// VerifyScanned verifies an entry of [Log.Scan], which lacks the value of a put.
func (e *Entry) VerifyScanned() error {
	if e.Kind == KindPut {
		return e.VerifyMetadata()
	}
	return e.Verify()
}

// Damage is the error of an entry that must not be served. It wraps [ErrCorrupt].
type Damage struct {
	Position Position
	Revision Revision
	Key      []byte
	// How describes the damage.
	How string
}

// Damaged returns the [Damage] of e.
func (e *Entry) Damaged(how string) error { return &Damage{e.Position, e.Revision, e.Key, how} }

func (d *Damage) Error() string {
	return fmt.Sprintf(
		"%v: the row at position %d (revision %d, key %q) is damaged: %s; "+
			"restore a backup, or see docs/reliability.md to keep the other rows",
		ErrCorrupt, d.Position, d.Revision, d.Key, d.How)
}

func (*Damage) Unwrap() error { return ErrCorrupt }
