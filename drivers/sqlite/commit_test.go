package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/stele-db/stele/drivers/drivertest"
	"github.com/stele-db/stele/logstructured/log"
)

// TestSyncsPerAppend checks that an append syncs the WAL at least once, for durability, and at most twice, for speed.
// The second sync occurs when the WAL restarts.
func TestSyncsPerAppend(t *testing.T) {
	l, d := openFaulty(t, "", time.Hour)
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	count := func() (wal, other int) {
		d.mu.Lock()
		defer d.mu.Unlock()
		for name, n := range d.syncs {
			if name == "state.db-wal" {
				wal += n
			} else {
				other += n
			}
		}
		return wal, other
	}
	var head log.Head
	twice := 0
	for n, rows := range []int{1, 1, 1, 64, 5, 300, 1000, 1, 2, 64, 64} {
		if n == 7 {
			if _, err := l.checkpoint(); err != nil { // the WAL starts over with the next append
				t.Fatal(err)
			}
		}
		walBefore, otherBefore := count()
		head = fill(t, l, rows, rows)
		wal, other := count()
		wal -= walBefore
		if wal < 1 || wal > 2 || other != otherBefore {
			t.Errorf("append %d of %d rows: %d syncs of the WAL and %d others, want 1 (or 2) and 0", n, rows, wal,
				other-otherBefore)
		}
		if wal == 2 {
			twice++
		}
	}
	if twice > 2 {
		t.Errorf("%d appends synced twice, want those at the beginning of the WAL only", twice)
	}
	if int(head.Position) != 1+1+1+64+5+300+1000+1+2+64+64 {
		t.Errorf("head is %v", head)
	}
}

// TestFailedCommit checks that the outcome of an append whose COMMIT failed is still true after a loss of power (see
// the package's documentation).
func TestFailedCommit(t *testing.T) {
	for _, test := range []struct {
		name string
		// op on the WAL fails with code this many times
		op    string
		code  int32
		times int
		// want is the sentinel of the error of Append, or nil for a plain failure
		want error
	}{
		{"write once", "write", sqlite3.SQLITE_IOERR_WRITE, 1, nil},
		{"write for good", "write", sqlite3.SQLITE_IOERR_WRITE, 1 << 30, nil},
		{"full", "write", sqlite3.SQLITE_FULL, 1 << 30, log.ErrNoSpace},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, d := openFaulty(t, "", time.Hour)
			defer func() { _ = l.Close() }()
			ctx := context.Background()
			head := fill(t, l, 10, 1)
			left := test.times
			setFail := func(f func(op, name string) int32) {
				d.mu.Lock()
				defer d.mu.Unlock()
				d.fail = f
			}
			var atFailure map[string][]byte
			setFail(func(op, name string) int32 {
				if name == "state.db-wal" && op == test.op && left > 0 {
					if left--; atFailure == nil {
						atFailure = d.image(all)
					}
					return test.code
				}
				return 0
			})
			entries := drivertest.BenchEntries(100)
			err := l.Append(ctx, head, 77, entries)
			if err == nil || test.want != nil && !errors.Is(err, test.want) || test.want == nil &&
				errors.Is(err, log.ErrUnknown) {
				t.Fatalf("Append: %v, want %v", err, test.want)
			}
			t.Log(err)
			if end, err := l.End(ctx); err != nil || end.Head != head {
				t.Fatalf("reads after the failure: end %v, %v", end.Head, err)
			}
			// A loss of power that keeps all writes must not make a definite failure reappear. When a sync fails, the
			// append is in the WAL, so that there is something to settle.
			d.mu.Lock()
			img := d.image(all)
			d.mu.Unlock()
			if end := endOfImage(t, img); end != head && !errors.Is(err, log.ErrUnknown) {
				t.Errorf("the append that failed came back: %v", end)
			}
			if end := endOfImage(t, atFailure); (end.ID == 77) != (test.op == "sync") {
				t.Errorf("at the moment of the failure the WAL ends at %v", end)
			}
			// The connection is usable as soon as the disk is.
			setFail(nil)
			if err := l.Append(ctx, head, 78, entries); err != nil {
				t.Errorf("Append when the disk works again: %v", err)
			}
			if got, _, err := l.Read(ctx, 0, 1000); err != nil || len(got) != 110 {
				t.Errorf("Read: %d entries, %v", len(got), err)
			}
		})
	}
}

// endOfImage returns the head that a machine finds after it starts with these files.
func endOfImage(t *testing.T, img map[string][]byte) log.Head {
	t.Helper()
	dir := t.TempDir()
	writeImage(t, dir, img)
	l, err := Open(context.Background(), filepath.Join(dir, "state.db"), Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	end, err := l.End(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return end.Head
}
