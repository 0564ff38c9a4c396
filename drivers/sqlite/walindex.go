package sqlite

import (
	"sync/atomic"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// The sizes of SQLite's WAL format: https://www.sqlite.org/walformat.html.
const (
	walHeaderBytes = 32
	walFrameBytes  = 24
	// walIndexBytes is the size of the pieces in which SQLite maps the shared memory.
	walIndexBytes = 32768
)

// walIndex is the state of the WAL that all processes share. It is in the shared memory, in the format of
// https://www.sqlite.org/walformat.html.
type walIndex struct {
	// frames is the number of frames in the WAL. copied is how many of them checkpoints have copied into the file;
	// attempted is larger than copied during a checkpoint.
	frames, copied, attempted int64
	// pages is the size of the database in pages, including the WAL.
	pages int64
	// salt changes whenever the WAL restarts.
	salt uint64
}

// settled reports whether the file holds the whole WAL and no checkpoint is running.
func (i walIndex) settled() bool { return i.copied == i.frames && i.attempted == i.frames }

// Offsets in the shared memory.
const (
	walIndexFrames    = 16
	walIndexPages     = 20
	walIndexSalt      = 32
	walIndexCopied    = 96
	walIndexAttempted = 128
)

// walIndex reads the shared memory. The values are consistent if no other connection writes at the same time, or if a
// second read returns the same ones.
func (c *conn) walIndex() (walIndex, error) {
	f, err := c.database()
	if err != nil {
		return walIndex{}, err
	}
	const ptrSize = int32(unsafe.Sizeof(uintptr(0)))
	pp := sqlite3.Xsqlite3_malloc(c.tls, ptrSize)
	if pp == 0 {
		return walIndex{}, errNoMemory
	}
	defer sqlite3.Xsqlite3_free(c.tls, pp)
	type mapMethod = func(tls *libc.TLS, file uintptr, piece, size, extend int32, pp uintptr) int32
	if err := f.err(method[mapMethod](f.methods.FxShmMap)(f.tls, f.p, 0, walIndexBytes, 0, pp)); err != nil {
		return walIndex{}, err
	}
	p := *(*uintptr)(cptr(pp))
	if p == 0 {
		return walIndex{}, errNoMemory
	}
	value := func(offset uintptr) int64 { return int64(atomic.LoadUint32((*uint32)(cptr(p + offset)))) }
	return walIndex{
		frames: value(walIndexFrames), copied: value(walIndexCopied), attempted: value(walIndexAttempted),
		pages: value(walIndexPages),
		salt:  uint64(value(walIndexSalt))<<32 | uint64(value(walIndexSalt+4)),
	}, nil
}
