package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// place is the path and identity of one of the three files at the time when the log was opened.
type place struct {
	path string
	info os.FileInfo
	identity
}

// places are the database file, the WAL and the shared memory, in this order.
type places [3]place

var (
	errGone     = errors.New("was removed or renamed while it was open")
	errReplaced = errors.New("was replaced by another file while it was open")
)

// check returns an error if the file is no longer in its place. Otherwise it returns the file's info, or nil if the
// operating system cannot provide it, which proves nothing.
func (p *place) check() (os.FileInfo, error) {
	if p.info == nil {
		return nil, nil // not located yet
	}
	info, err := os.Stat(p.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, p.fault(errGone)
	case err != nil:
		return nil, nil //nolint:nilerr // unreadable now, and maybe not the next time
	case !os.SameFile(info, p.info):
		return nil, p.fault(errReplaced)
	}
	return info, nil
}

func (p *place) fault(what error) error { return fmt.Errorf("%s %w", p.path, what) }

// statTimes implements stat by check.
func (p *place) statTimes() (size int64, known bool, err error) {
	info, err := p.check()
	if err != nil || info == nil {
		return 0, false, err
	}
	return info.Size(), true, nil
}

// fileState is the state of the database file according to the shared memory and the file system.
type fileState struct {
	walIndex
	size     int64
	modified time.Time
}
