package sqlite

import (
	"errors"
	"io/fs"
	"os"

	sys "golang.org/x/sys/unix"
)

// stat returns the size of the file at p, or errGone or errReplaced. known is false if the operating system cannot
// provide it, which proves nothing.
//
// stat does not request the file's times. Linux gives a file whose times were read a new time at the next write, whose
// sync must then also commit the file system's journal. That made appends 10% slower.
func (p *place) stat() (size int64, known bool, err error) {
	var now sys.Statx_t
	err = sys.Statx(sys.AT_FDCWD, p.path, 0, sys.STATX_INO|sys.STATX_SIZE, &now)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, false, p.fault(errGone)
	case err != nil:
		return p.statTimes()
	case now.Ino != p.inode || now.Dev_major != p.devMajor || now.Dev_minor != p.devMinor:
		return 0, false, p.fault(errReplaced)
	}
	return int64(now.Size), true, nil
}

// identity distinguishes a file from another one at the same path.
type identity struct {
	inode              uint64
	devMajor, devMinor uint32
}

func identify(path string, _ os.FileInfo) identity {
	var now sys.Statx_t
	if err := sys.Statx(sys.AT_FDCWD, path, 0, sys.STATX_INO, &now); err != nil {
		return identity{}
	}
	return identity{now.Ino, now.Dev_major, now.Dev_minor}
}
