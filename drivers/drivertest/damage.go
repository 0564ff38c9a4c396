package drivertest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stele-db/stele/logstructured/log"
)

// Damage changes one column of a stored row.
type Damage struct {
	// SQL is the assignment of an UPDATE of stele_log. "key" must be quoted.
	SQL string
	// Change makes the same change to the entry.
	Change func(*log.Entry)
}

// Damager damages the row at a position without the driver's knowledge.
type Damager func(t testing.TB, position log.Position, damage Damage)

// BySQL returns a Damager that uses execute to run a statement in the database.
func BySQL(execute func(t testing.TB, statement string)) Damager {
	return func(t testing.TB, position log.Position, damage Damage) {
		execute(t, fmt.Sprintf("UPDATE stele_log SET %s WHERE position = %d", damage.SQL, position))
	}
}

// damages change one column of one row each. Scan does not notice the last one, because it leaves values out.
var damages = []Damage{
	{"id = id + 1", func(e *log.Entry) { e.ID++ }},
	{"time = time + 1", func(e *log.Entry) { e.Time++ }},
	{"time = time + 4294967296", func(e *log.Entry) { e.Time += 1 << 32 }},
	{"kind = 2", func(e *log.Entry) { e.Kind = 2 }},
	{"revision = revision + 1", func(e *log.Entry) { e.Revision++ }},
	{"sub = sub + 256", func(e *log.Entry) { e.Sub += 256 }},
	{`"key" = 'k'`, func(e *log.Entry) { e.Key = []byte("k") }},
	{"create_revision = create_revision + 1", func(e *log.Entry) { e.CreateRevision++ }},
	{"version = version - 1", func(e *log.Entry) { e.Version-- }},
	{"lease = lease + 1", func(e *log.Entry) { e.Lease++ }},
	{"checksum = checksum + 1", func(e *log.Entry) { e.Checksum++ }},
	{"checksum = checksum - 4294967296", func(e *log.Entry) { e.Checksum -= 1 << 32 }},
	{"position = position + 1000", func(e *log.Entry) { e.Position += 1000 }},
	{"value = 'longer'", func(e *log.Entry) { e.Value = []byte("longer") }},
	{"value = 'w'", func(e *log.Entry) { e.Value = []byte("w") }},
}

// withoutChecksum turns a row into one written by a version without checksums.
var withoutChecksum = Damage{"checksum = NULL", func(e *log.Entry) { e.Checksum = 0 }}

// damageIsReported changes rows without the driver's knowledge. The driver must return each one so that its checksum
// does not match.
func (s suite) damageIsReported(t *testing.T) {
	open, damage := s.Damage(t)
	l := opened(t, open)
	ctx := testContext(t)
	n := len(damages)
	entries := puts(7, n)
	for i := range entries {
		entries[i].Value, entries[i].Version, entries[i].Lease = []byte("v"), 3, 5
	}
	head := mustAppend(t, l, log.Head{}, entries[:3])
	head = mustAppend(t, l, head, entries[3:])
	head = mustAppend(t, l, head, puts(8, 1))
	positions := make([]log.Position, n)
	for i := range positions {
		positions[i] = log.Position(i + 1)
	}
	for _, e := range append(readAll(t, l, 0), scanAll(t, l)...) {
		if err := e.VerifyMetadata(); err != nil || e.Checksum == 0 {
			t.Fatalf("before: checksum %x, %v", uint64(e.Checksum), err)
		}
	}
	for i, d := range damages {
		damage(t, log.Position(i+1), d)
	}
	wantDamaged := func(how string, e *log.Entry, err error) {
		t.Helper()
		if intact := e.Position == head.Position; intact != (err == nil) || err != nil &&
			!errors.Is(err, log.ErrCorrupt) {
			t.Errorf("%s: %+v: %v", how, e, err)
		}
	}
	read, _, err := l.Read(ctx, 0, n+1)
	if err != nil || len(read) != n+1 {
		t.Fatalf("Read: %d entries, %v", len(read), err)
	}
	for i := range read {
		wantDamaged("Read", &read[i], read[i].Verify())
	}
	for _, e := range scanAll(t, l) {
		if int(e.Position) != n { // except for the value of the same length
			wantDamaged("Scan", &e, e.VerifyMetadata())
		}
	}
	v, err := l.Values(ctx, positions)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range entries {
		e.Value, e.ValueSize = v.Values[i], len(v.Values[i])
		if e.Checksum = v.Checksums[i]; i >= n-2 && (!v.Found[i] || e.Verify() == nil) {
			t.Errorf("Values: the value %q of position %d verifies", v.Values[i], i+1)
		}
	}
}

// rowsWithoutChecksum reads rows written by an earlier version.
func (s suite) rowsWithoutChecksum(t *testing.T) {
	open, damage := s.Damage(t)
	l := opened(t, open)
	head := fill(t, l, log.Head{}, 4, 2)
	damage(t, 2, withoutChecksum)
	damage(t, 3, withoutChecksum)
	head = mustAppend(t, l, head, puts(9, 1))
	for _, all := range [][]log.Entry{readAll(t, l, 0), scanAll(t, l)} {
		for i, e := range all {
			if has := e.Checksum != 0; has != (i < 1 || i > 2) || e.VerifyMetadata() != nil {
				t.Errorf("position %d: checksum %x, %v", e.Position, uint64(e.Checksum), e.VerifyMetadata())
			}
		}
	}
	v, err := l.Values(testContext(t), []log.Position{2, head.Position, 2})
	if err != nil || !v.Found[0] || v.Checksums[0] != 0 || v.Checksums[1] == 0 || v.Checksums[2] != 0 {
		t.Errorf("Values: %+v, %v", v, err)
	}
}

// scanAll returns all entries that Scan passes to its function.
func scanAll(t testing.TB, l log.Log) (all []log.Entry) {
	t.Helper()
	if _, err := l.Scan(t.Context(), 0, func(batch []log.Entry) error {
		all = append(all, batch...)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}
