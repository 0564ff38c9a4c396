package sqlite

import (
	"slices"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// file is a file that a connection has open. It is accessed through SQLite's descriptor, because closing a second
// descriptor would drop this process's locks on the file.
type file struct {
	tls     *libc.TLS
	p       uintptr // sqlite3_file*
	methods *sqlite3.Tsqlite3_io_methods
}

// database returns the database file.
func (c *conn) database() (file, error) { return c.file(sqlite3.SQLITE_FCNTL_FILE_POINTER) }

// wal returns the write-ahead log. A transaction of the connection must have read the database before.
func (c *conn) wal() (file, error) { return c.file(sqlite3.SQLITE_FCNTL_JOURNAL_POINTER) }

// moved reports whether the database file is no longer at its path. It does not allocate. It does not notice a
// replacement with the same inode number on another device.
func (c *conn) moved() bool {
	p := sqlite3.Xsqlite3_malloc(c.tls, 4)
	if p == 0 {
		return false
	}
	defer sqlite3.Xsqlite3_free(c.tls, p)
	rc := sqlite3.Xsqlite3_file_control(c.tls, c.db, 0, sqlite3.SQLITE_FCNTL_HAS_MOVED, p)
	return rc == sqlite3.SQLITE_OK && *(*int32)(cptr(p)) != 0
}

func (c *conn) file(which int32) (file, error) {
	const ptrSize = int32(unsafe.Sizeof(uintptr(0)))
	pp := sqlite3.Xsqlite3_malloc(c.tls, ptrSize)
	if pp == 0 {
		return file{}, errNoMemory
	}
	defer sqlite3.Xsqlite3_free(c.tls, pp)
	if rc := sqlite3.Xsqlite3_file_control(c.tls, c.db, 0, which, pp); rc != sqlite3.SQLITE_OK {
		return file{}, c.error(rc)
	}
	f := file{tls: c.tls, p: *(*uintptr)(cptr(pp))}
	methods := (*sqlite3.Tsqlite3_file)(cptr(f.p)).FpMethods
	if methods == 0 {
		return file{}, &Error{Code: sqlite3.SQLITE_MISUSE, Message: "the file is not open"}
	}
	f.methods = (*sqlite3.Tsqlite3_io_methods)(cptr(methods))
	return f, nil
}

// method converts a C function pointer to a Go function, as the translated SQLite does.
func method[F any](p uintptr) F { return *(*F)(unsafe.Pointer(&p)) }

type (
	transferMethod = func(tls *libc.TLS, file, buffer uintptr, n int32, offset int64) int32
	syncMethod     = func(tls *libc.TLS, file uintptr, flags int32) int32
	sizeMethod     = func(tls *libc.TLS, file, size uintptr) int32
)

func (f file) err(rc int32) error {
	if rc == sqlite3.SQLITE_OK {
		return nil
	}
	return &Error{Code: rc, Message: libc.GoString(sqlite3.Xsqlite3_errstr(f.tls, rc))}
}

// size returns the size in bytes.
func (f file) size() (int64, error) {
	p := sqlite3.Xsqlite3_malloc(f.tls, 8)
	if p == 0 {
		return 0, errNoMemory
	}
	defer sqlite3.Xsqlite3_free(f.tls, p)
	rc := method[sizeMethod](f.methods.FxFileSize)(f.tls, f.p, p)
	return *(*int64)(cptr(p)), f.err(rc)
}

// read reads n bytes at offset.
func (f file) read(offset int64, n int) ([]byte, error) {
	buffer := sqlite3.Xsqlite3_malloc(f.tls, int32(n))
	if buffer == 0 {
		return nil, errNoMemory
	}
	defer sqlite3.Xsqlite3_free(f.tls, buffer)
	rc := method[transferMethod](f.methods.FxRead)(f.tls, f.p, buffer, int32(n), offset)
	return slices.Clone(unsafe.Slice((*byte)(cptr(buffer)), n)), f.err(rc)
}

// rewrite writes the file's contents over themselves and syncs them, so that data held only in the kernel's memory
// reach the disk.
func (f file) rewrite() error {
	const chunk = 64 << 10 // SQLite transfers at most 128 KiB at once
	size, err := f.size()
	if err != nil || size == 0 {
		return err
	}
	buffer := sqlite3.Xsqlite3_malloc(f.tls, chunk)
	if buffer == 0 {
		return errNoMemory
	}
	defer sqlite3.Xsqlite3_free(f.tls, buffer)
	read, write := method[transferMethod](f.methods.FxRead), method[transferMethod](f.methods.FxWrite)
	for offset := int64(0); offset < size; offset += chunk {
		n := int32(min(chunk, size-offset))
		if err := f.err(read(f.tls, f.p, buffer, n, offset)); err != nil {
			return err
		}
		if err := f.err(write(f.tls, f.p, buffer, n, offset)); err != nil {
			return err
		}
	}
	return f.err(method[syncMethod](f.methods.FxSync)(f.tls, f.p, sqlite3.SQLITE_SYNC_FULL))
}

var errNoMemory = &Error{Code: sqlite3.SQLITE_NOMEM, Message: "out of memory"}
