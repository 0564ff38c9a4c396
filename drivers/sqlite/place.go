package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// place is one of the three files, as it was found when the log was opened.
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

// check returns an error unless the file is where it was, and otherwise what is known about it, which is nil if the
// operating system cannot say: that proves nothing.
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

// statTimes is stat by way of check.
func (p *place) statTimes() (size int64, known bool, err error) {
	info, err := p.check()
	if err != nil || info == nil {
		return 0, false, err
	}
	return info.Size(), true, nil
}

// look is what the shared memory and the file system said about the database file.
type look struct {
	walIndex
	size     int64
	modified time.Time
}
