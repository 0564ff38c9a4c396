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

// full returns an error if no file can be created in one of the directories because its file system is full. It tries
// to create one, because SQLite reports only SQLITE_CANTOPEN, with an error number that often belongs to a second
// attempt to open the file read-only, and some file systems do not report their free inodes.
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

// noSpace returns the errno in err if it means that a file system is full, and otherwise 0.
func noSpace(err error) syscall.Errno {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, errno) {
			return errno
		}
	}
	return 0
}

// creates returns the directories in which SQLite creates files for the database at path. They are the database's own
// directory and the one for temporary files, searched in SQLite's order.
func creates(path string) []string {
	dirs := []string{filepath.Dir(path)}
	for _, dir := range []string{os.Getenv("SQLITE_TMPDIR"), os.Getenv("TMPDIR"), "/var/tmp", "/usr/tmp", "/tmp"} {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return append(dirs, dir)
		}
	}
	return dirs
}
