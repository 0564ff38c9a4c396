//go:build linux

package sqlite

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/drivertest"
	"github.com/stele-db/stele/logstructured/log"
)

// smallDisk mounts a file system of 8 MiB. If that is not permitted, the test fails unless STELE_TEST_NO_MOUNT is set.
func smallDisk(t *testing.T) string { return mountDisk(t, "size=8m") }

// mountDisk mounts a tmpfs with these options.
func mountDisk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		if os.Getenv("STELE_TEST_NO_MOUNT") != "" {
			t.Skipf("STELE_TEST_NO_MOUNT is set, and mounting a tmpfs failed: %v", err)
		}
		t.Fatalf("cannot mount a small file system to fill (%v): run as root, or set STELE_TEST_NO_MOUNT=1 to leave "+
			"out the tests of a full disk", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// ballast fills a disk up to room bytes.
func ballast(t *testing.T, dir string, room int64) string {
	t.Helper()
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "ballast")
	// A checkpoint may use some of the space meanwhile.
	if err := os.WriteFile(path, make([]byte, int64(st.Bavail)*st.Bsize-room), 0o600); err != nil &&
		!errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return path
}

func TestFullDisk(t *testing.T) {
	dir := smallDisk(t)
	path := filepath.Join(dir, "state.db")
	l, err := Open(context.Background(), path, Options{Logger: quiet(), CheckpointInterval: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	ctx := context.Background()
	var head log.Head
	var n int64 // acknowledged appends
	// appendNext appends as the store does: it repeats an append whose outcome is unknown.
	appendNext := func() error {
		for tries := 0; ; tries++ {
			err := l.Append(ctx, head, log.AppendID(n+1), fullEntries(n))
			if errors.Is(err, log.ErrUnknown) && tries < 100 {
				continue
			}
			if err == nil {
				n++
				head = log.Head{Position: head.Position + 3, ID: log.AppendID(n)}
			}
			return err
		}
	}
	for round := range 4 {
		file := ballast(t, dir, 1<<20+int64(round)*5000)
		before := n
		var err error
		for err == nil {
			err = appendNext()
		}
		if !errors.Is(err, log.ErrNoSpace) {
			t.Fatalf("round %d: Append on a full disk: %v", round, err)
		}
		if round == 0 {
			t.Log(err)
		}
		// The disk stays full when checkpoints can free no more space, and reads continue.
		for failures := 0; failures < 5; {
			switch err := appendNext(); {
			case err == nil:
				failures = 0
			case errors.Is(err, log.ErrNoSpace):
				failures++
			default:
				t.Fatalf("round %d: Append on a disk that is still full: %v", round, err)
			}
			if end, err := l.End(ctx); err != nil || end.Head != head {
				t.Fatalf("round %d: end is %v, %v, want %v", round, end.Head, err, head)
			}
			if entries, _, err := l.Read(ctx, head.Position-3, 10); err != nil || len(entries) != 3 {
				t.Fatalf("round %d: Read: %d entries, %v", round, len(entries), err)
			}
			if v, err := l.Values(ctx, []log.Position{1, head.Position}); err != nil || !v.Found[0] || !v.Found[1] {
				t.Fatalf("round %d: Values: %v", round, err)
			}
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if err := appendNext(); err != nil {
			t.Fatalf("round %d: Append when there is space again: %v", round, err)
		}
		t.Logf("round %d: %d appends until the disk was full", round, n-before)
	}
	checkFull(t, l, n)
	// A Delete on the full disk fails and can be repeated.
	file := ballast(t, dir, 0)
	all := make([]log.Position, head.Position)
	for i := range all {
		all[i] = log.Position(i + 1)
	}
	deleteErr := l.Delete(ctx, log.Head{}, all, head.Position)
	t.Logf("Delete on a full disk: %v", deleteErr)
	if deleteErr != nil && !errors.Is(deleteErr, log.ErrNoSpace) {
		t.Errorf("Delete: %v", deleteErr)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := l.Delete(ctx, log.Head{}, all, head.Position); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if err := l.Defragment(ctx); err != nil {
		t.Errorf("Defragment: %v", err)
	}
	if size, err := l.Size(ctx); err != nil || size.Total > 100_000 {
		t.Errorf("size after Delete and Defragment: %+v, %v", size, err)
	}
	if err := appendNext(); err != nil {
		t.Errorf("Append after Delete: %v", err)
	}
}

func fullEntries(n int64) []log.Entry {
	entries := drivertest.BenchEntries(3)
	for i := range entries {
		entries[i].Sub = int64(i)
		entries[i].Key = binary.BigEndian.AppendUint64(nil, uint64(n))
	}
	return entries
}

// checkFull checks that the log contains n appends, each once and complete.
func checkFull(t *testing.T, l *Log, n int64) {
	t.Helper()
	i := int64(0)
	_, err := l.Scan(context.Background(), 0, func(batch []log.Entry) error {
		for _, e := range batch {
			if e.Position != log.Position(i+1) || e.ID != log.AppendID(i/3+1) || e.Sub != i%3 ||
				binary.BigEndian.Uint64(e.Key) != uint64(i/3) {
				t.Fatalf("entry %d is %+v", i, e)
			}
			i++
		}
		return nil
	})
	if err != nil || i != 3*n {
		t.Errorf("%d entries, %v; want %d", i, err, 3*n)
	}
}

func TestOpenOnFullDisk(t *testing.T) {
	dir := smallDisk(t)
	file := ballast(t, dir, 0)
	path := filepath.Join(dir, "state.db")
	_, err := Open(context.Background(), path, Options{Logger: quiet()})
	if !errors.Is(err, log.ErrNoSpace) ||
		!strings.Contains(err.Error(), "database or disk is full (SQLite code 13) (sqlite: open "+path+
			"); the disk is full: free some space") {
		t.Fatalf("Open: %v", err)
	}
	t.Log(err)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	makeLog(t, path)
}

// TestReadOnlyFileSystem makes the file system read-only, as Linux does when a disk fails.
func TestReadOnlyFileSystem(t *testing.T) {
	dir := smallDisk(t)
	path := filepath.Join(dir, "state.db")
	makeLog(t, path)
	before := contents(t, dir)
	remount := func(flags uintptr) {
		t.Helper()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|flags, "size=8m"); err != nil {
			t.Fatal(err)
		}
	}
	remount(syscall.MS_RDONLY)
	_, err := Open(context.Background(), path, Options{Logger: quiet()})
	if !errors.Is(err, log.ErrReadOnly) || !strings.Contains(err.Error(), "sqlite: open "+path+
		"); the file cannot be written") {
		t.Errorf("Open: %v", err)
	}
	t.Log(err)
	remount(0)
	if after := contents(t, dir); len(after) != len(before) || after["state.db"] != before["state.db"] {
		t.Error("the file changed")
	}
	makeLog(t, path)
}

// fewInodes mounts a file system with few inodes, and returns functions that use up the remaining inodes and free them.
func fewInodes(t *testing.T) (dir string, use, free func()) {
	t.Helper()
	dir = mountDisk(t, "size=64m,nr_inodes=16")
	var files []string
	use = func() {
		t.Helper()
		for i := 0; ; i++ {
			path := filepath.Join(dir, "used", strconv.Itoa(i))
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700),
				os.WriteFile(path, nil, 0o600)); errors.Is(err, syscall.ENOSPC) {
				return
			} else if err != nil {
				t.Fatal(err)
			}
			files = append(files, path)
		}
	}
	return dir, use, func() {
		t.Helper()
		for _, path := range files {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		files = nil
	}
}

// TestOpenWithoutInodes opens a log on a file system with space but without inodes. The error must name inodes and not
// permissions.
func TestOpenWithoutInodes(t *testing.T) {
	dir, use, free := fewInodes(t)
	old := filepath.Join(dir, "old.db")
	makeLog(t, old)
	for what, path := range map[string]string{
		"a new file": filepath.Join(dir, "state.db"), "a new directory": filepath.Join(dir, "new", "state.db"),
		"a file that needs its -wal": old,
	} {
		use()
		_, err := Open(context.Background(), path, Options{Logger: quiet()})
		if !errors.Is(err, log.ErrNoSpace) || errors.Is(err, log.ErrReadOnly) ||
			!strings.Contains(err.Error(), "inodes") {
			t.Errorf("%s: %v", what, err)
		}
		t.Log(err)
		free()
		makeLog(t, path)
	}
}

// TestRunWithoutInodes uses up the inodes while a log is open, which has all its files.
func TestRunWithoutInodes(t *testing.T) {
	dir, use, free := fewInodes(t)
	t.Setenv("SQLITE_TMPDIR", dir)
	ctx := context.Background()
	l, err := Open(ctx, filepath.Join(dir, "state.db"), Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	use()
	var head log.Head
	for n := range int64(100) {
		if err := l.Append(ctx, head, log.AppendID(n+1), fullEntries(n)); err != nil {
			t.Fatalf("append %d: %v", n, err)
		}
		head = log.Head{Position: head.Position + 3, ID: log.AppendID(n + 1)}
	}
	checkFull(t, l, 100)
	if err := l.Defragment(ctx); err != nil && !errors.Is(err, log.ErrNoSpace) {
		t.Errorf("Defragment: %v", err)
	} else {
		t.Logf("Defragment without inodes: %v", err)
	}
	free()
	if err := l.Defragment(ctx); err != nil {
		t.Errorf("Defragment: %v", err)
	}
}
