package sqlite

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/stele-db/stele/drivers/drivertest"
	"github.com/stele-db/stele/logstructured/log"
)

// copyFile overwrites to.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// interferences are changes that operators make to the files of a running server. After those that move a file no
// append is acknowledged. Those that need a settled file are visible only after the checkpoints have copied the whole
// WAL.
var interferences = []struct {
	name           string
	moved, settled bool
	do             func(t *testing.T, path string) error
	want           string
}{
	{"renamed", true, false, func(_ *testing.T, path string) error { return os.Rename(path, path+".other") },
		"state.db was removed or renamed"},
	{"removed", true, false, func(_ *testing.T, path string) error { return os.Remove(path) },
		"state.db was removed or renamed"},
	{"directory renamed", true, false, func(_ *testing.T, path string) error {
		return os.Rename(filepath.Dir(path), filepath.Dir(path)+".other")
	}, "was removed or renamed"},
	{"replaced by a copy", true, false, func(_ *testing.T, path string) error {
		return os.Rename(path+".backup",
			path)
	}, "state.db was replaced"},
	{"WAL removed", true, false, func(_ *testing.T, path string) error { return os.Remove(path + "-wal") },
		"state.db-wal was removed"},
	{"shared memory removed", false, false, func(_ *testing.T, path string) error { return os.Remove(path + "-shm") },
		"state.db-shm was removed"},
	{"overwritten by a copy", false, true,
		func(t *testing.T, path string) error { copyFile(t, path+".backup", path); return nil }, "state.db was"},
	{"truncated", false, false, func(_ *testing.T, path string) error { return os.Truncate(path, 3*pageSize) },
		"state.db was truncated"},
	{"emptied", false, false, func(_ *testing.T, path string) error { return os.Truncate(path, 0) },
		"state.db was truncated"},
	{"WAL emptied", false, false, func(_ *testing.T, path string) error { return os.Truncate(path+"-wal", 0) },
		"state.db-wal was truncated"},
}

// settledLog opens a log with entries, with an older copy of it next to it, and waits until the checkpoints are done.
func settledLog(t *testing.T, checkpoints time.Duration) (*Log, string, log.Head) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	path := filepath.Join(dir, "state.db")
	makeLog(t, path)
	copyFile(t, path, path+".backup")
	l, err := Open(context.Background(), path, Options{Logger: quiet(), CheckpointInterval: checkpoints})
	if err != nil {
		t.Fatal(err)
	}
	end, err := l.End(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	head := end.Head
	for range 5 {
		if err := l.Append(context.Background(), head, head.ID+1, drivertest.BenchEntries(50)); err != nil {
			t.Fatal(err)
		}
		head = log.Head{Position: head.Position + 50, ID: head.ID + 1}
	}
	return l, path, head
}

// within polls until met returns true, for as long as the log may take to notice.
func within(t *testing.T, what string, met func() bool) {
	t.Helper()
	deadline, tick := time.After(10*time.Second), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !met() {
		select {
		case <-deadline:
			t.Fatalf("timed out: %s", what)
		case <-tick.C:
		}
	}
}

// settled reports whether the log has checked its files since the whole WAL, as it is now, was copied.
func settled(t *testing.T, l *Log) bool {
	t.Helper()
	var now walIndex
	if err := l.read(context.Background(), l.followers, func(r *reader) (err error) {
		now, err = r.c.walIndex()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	l.stateMu.Lock()
	defer l.stateMu.Unlock()
	return l.state.settled() && l.state.frames > 0 && l.state.walIndex == now
}

// failedFor checks that every call fails for this reason, that Close returns it, and that the files do not change.
func failedFor(t *testing.T, l *Log, head log.Head, want string) {
	t.Helper()
	ctx := context.Background()
	_, err := l.End(ctx)
	if !errors.Is(err, log.ErrCorrupt) || !strings.Contains(err.Error(), want) {
		t.Errorf("End: %v, want %q", err, want)
	}
	if err := l.Append(ctx, head, 99, drivertest.BenchEntries(1)); !errors.Is(err, log.ErrCorrupt) ||
		errors.Is(err, log.ErrUnknown) {
		t.Errorf("Append: %v", err)
	}
	if _, err := l.Values(ctx, []log.Position{1}); !errors.Is(err, log.ErrCorrupt) {
		t.Errorf("Values: %v", err)
	}
	if err := l.Close(); !errors.Is(err, log.ErrCorrupt) {
		t.Errorf("Close: %v", err)
	}
}

// TestInterference checks that a log whose files are moved or changed notices without a call, and refuses every later
// call.
func TestInterference(t *testing.T) {
	for _, test := range interferences {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l, path, head := settledLog(t, time.Millisecond)
			within(t, "the log checks the settled file", func() bool { return settled(t, l) })
			before := time.Now()
			if err := test.do(t, path); err != nil {
				t.Fatal(err)
			}
			within(t, "the failure", func() bool { return l.failure.Load() != nil })
			t.Logf("noticed after %v: %v", time.Since(before).Round(time.Millisecond), l.failure.Load())
			failedFor(t, l, head, test.want)
		})
	}
}

// TestAppendAfterInterference checks that an append to a file that was moved is not acknowledged.
func TestAppendAfterInterference(t *testing.T) {
	for _, test := range interferences {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if test.settled {
				t.Skip("the WAL holds everything that the copy lacks")
			}
			l, path, head := settledLog(t, time.Hour)
			if err := test.do(t, path); err != nil {
				t.Fatal(err)
			}
			err := l.Append(context.Background(), head, 77, drivertest.BenchEntries(1))
			if err == nil && test.moved {
				t.Error("Append was acknowledged")
			}
			if err != nil && !errors.Is(err, log.ErrCorrupt) {
				t.Errorf("Append: %v", err)
			}
			within(t, "the failure", func() bool { return l.failure.Load() != nil })
			failedFor(t, l, head, test.want)
		})
	}
}

// TestCorruptionFailsLog checks that a page that SQLite finds damaged fails the log, whichever statement reads it.
func TestCorruptionFailsLog(t *testing.T) {
	for name, read := range map[string]func(l *Log, head log.Head) error{
		"scan": func(l *Log, _ log.Head) error {
			_, err := l.Scan(context.Background(), 0, func([]log.Entry) error { return nil })
			return err
		},
		"values": func(l *Log, head log.Head) error {
			_, err := l.Values(context.Background(), []log.Position{1, head.Position / 2})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.db")
			makeLog(t, path)
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			size, err := f.Seek(0, io.SeekEnd)
			if err != nil {
				t.Fatal(err)
			}
			for off := int64(5 * pageSize); off < size-2*pageSize; off += pageSize {
				if _, err := f.WriteAt([]byte("damaged"), off); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			l, err := Open(context.Background(), path, Options{Logger: quiet()})
			if err != nil {
				t.Fatal(err)
			}
			end, err := l.End(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if err := read(l, end.Head); !errors.Is(err, log.ErrCorrupt) {
				t.Fatalf("the damage was not noticed: %v", err)
			}
			failedFor(t, l, end.Head, "malformed")
		})
	}
}

// TestCorruptCheckpointFailsLog checks that corruption found by a checkpoint fails the log, because no other statement
// may ever read the page.
func TestCorruptCheckpointFailsLog(t *testing.T) {
	l, d := openFaulty(t, "", time.Millisecond)
	d.mu.Lock()
	d.fail = func(op, name string) int32 {
		if op == "write" && name == "state.db" {
			return sqlite3.SQLITE_CORRUPT
		}
		return 0
	}
	d.mu.Unlock()
	head := fill(t, l, 10, 10)
	within(t, "the failure", func() bool { return l.failure.Load() != nil })
	failedFor(t, l, head, "malformed")
}
