package sqlite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// fullError reports that no file can be created in a directory, because its file system is full.
type fullError struct {
	dir   string
	errno syscall.Errno
}

func (e *fullError) Error() string {
	return fmt.Sprintf("no space or inodes are left in %s (see `df` and `df -i`): %v", e.dir, e.errno)
}

func (e *fullError) Unwrap() error { return e.errno }

// full returns an error if no file can be created in one of the directories because its file system is full. SQLite
// reports every file that it cannot open as SQLITE_CANTOPEN. Its error number is often that of another attempt, to open
// the file only for reading, and the number of free inodes is unknown on some file systems, so full tries it.
func full(dirs ...string) *fullError {
	for _, dir := range dirs {
		f, err := os.CreateTemp(dir, ".stele-full-*")
		if err == nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
			continue
		}
		if errno := noSpace(err); errno != 0 {
			return &fullError{dir, errno}
		}
	}
	return nil
}

// noSpace returns the number of an error that says that a file system is full, and otherwise 0.
func noSpace(err error) syscall.Errno {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, errno) {
			return errno
		}
	}
	return 0
}

// creates are the directories in which SQLite creates files for the database at path: its own, and the one for
// temporary files, in SQLite's order.
func creates(path string) []string {
	dirs := []string{filepath.Dir(path)}
	for _, dir := range []string{os.Getenv("SQLITE_TMPDIR"), os.Getenv("TMPDIR"), "/var/tmp", "/usr/tmp", "/tmp"} {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return append(dirs, dir)
		}
	}
	return dirs
}
