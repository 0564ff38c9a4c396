package sqlite

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// openMode is the mode in which a connection opens the file.
type openMode int32

const (
	readWrite openMode = sqlite3.SQLITE_OPEN_READWRITE
	create    openMode = sqlite3.SQLITE_OPEN_READWRITE | sqlite3.SQLITE_OPEN_CREATE
	readOnly  openMode = sqlite3.SQLITE_OPEN_READONLY
)

// conn is one SQLite connection, used by one goroutine at a time. It uses SQLite's C interface (as translated by
// modernc.org/sqlite/lib) instead of database/sql: an append binds some 500 values and a scan reads ten million
// columns, and boxing each of them cost more than SQLite's own work.
type conn struct {
	tls *libc.TLS
	db  uintptr // sqlite3*
	// path is the path of the database file.
	path string
	// arena is C memory for the blobs bound to the next statement.
	arena arena
	stmts []*stmt
}

// openConn opens path. An empty vfs selects the default one. The caller retries while the file is locked; see
// [retryBusy].
func openConn(path string, mode openMode, vfs string) (*conn, error) {
	c := &conn{tls: libc.NewTLS(), path: path}
	zName, err := libc.CString(path)
	if err != nil {
		c.tls.Close()
		return nil, err
	}
	defer libc.Xfree(c.tls, zName)
	var zVfs uintptr
	if vfs != "" {
		if zVfs, err = libc.CString(vfs); err != nil {
			c.tls.Close()
			return nil, err
		}
		defer libc.Xfree(c.tls, zVfs)
	}
	const ptrSize = int32(unsafe.Sizeof(uintptr(0)))
	ppDB := sqlite3.Xsqlite3_malloc(c.tls, ptrSize)
	if ppDB == 0 {
		c.tls.Close()
		return nil, errNoMemory
	}
	defer sqlite3.Xsqlite3_free(c.tls, ppDB)
	flags := int32(mode) | sqlite3.SQLITE_OPEN_NOMUTEX | sqlite3.SQLITE_OPEN_EXRESCODE
	rc := sqlite3.Xsqlite3_open_v2(c.tls, zName, ppDB, flags, zVfs)
	c.db = *(*uintptr)(cptr(ppDB))
	if rc != sqlite3.SQLITE_OK {
		err := c.error(rc)
		return nil, errors.Join(err, c.close())
	}
	if err := c.keepWAL(true); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// cptr converts the address of C memory, which the garbage collector neither moves nor frees, to a pointer. The
// indirect conversion satisfies go vet, which cannot know that.
func cptr(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

// Error is an error of SQLite.
type Error struct {
	// Code is SQLite's extended result code.
	Code int32
	// Errno is the error number of the failed system call, or 0.
	Errno   syscall.Errno
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("%s (SQLite code %d)", e.Message, e.Code) }

// primary returns the result code without its extension.
func (e *Error) primary() int32 { return e.Code & 0xff }

func (c *conn) error(rc int32) error {
	e := &Error{Code: rc}
	if c.db != 0 && sqlite3.Xsqlite3_extended_errcode(c.tls, c.db) == rc {
		e.Message = libc.GoString(sqlite3.Xsqlite3_errmsg(c.tls, c.db))
	} else {
		e.Message = libc.GoString(sqlite3.Xsqlite3_errstr(c.tls, rc))
	}
	if c.db != 0 && (e.primary() == sqlite3.SQLITE_IOERR || e.primary() == sqlite3.SQLITE_CANTOPEN) {
		e.Errno = syscall.Errno(sqlite3.Xsqlite3_system_errno(c.tls, c.db))
		if e.Errno != 0 && e.Errno != syscall.ENOENT { // ENOENT comes from the search for a journal
			e.Message += ": " + e.Errno.Error()
		}
	}
	if e.primary() == sqlite3.SQLITE_CANTOPEN {
		if full := full(creates(c.path)...); full != nil {
			e.Errno, e.Message = full.errno, e.Message+": "+full.Error()
		}
	}
	return e
}

// close closes the connection and rolls back an open transaction.
func (c *conn) close() error {
	var err error
	for _, s := range c.stmts {
		sqlite3.Xsqlite3_finalize(c.tls, s.p)
	}
	c.stmts = nil
	if c.db != 0 {
		if rc := sqlite3.Xsqlite3_close_v2(c.tls, c.db); rc != sqlite3.SQLITE_OK {
			err = c.error(rc)
		}
		c.db = 0
	}
	c.arena.free(c.tls)
	c.tls.Close()
	return err
}

// keepWAL(true) makes close leave the write-ahead log unchanged. keepWAL(false) makes close checkpoint and remove it if
// this is the last connection. Connections are opened with true, because a connection that is closed after an error
// must not checkpoint.
func (c *conn) keepWAL(keep bool) error {
	var noCheckpoint int32
	if keep {
		noCheckpoint = 1
	}
	args := libc.NewVaList(noCheckpoint, uintptr(0))
	if args == 0 {
		return errNoMemory
	}
	defer libc.Xfree(c.tls, args)
	rc := sqlite3.Xsqlite3_db_config(c.tls, c.db, sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, args)
	if rc != sqlite3.SQLITE_OK {
		return c.error(rc)
	}
	return nil
}

// inTransaction reports whether a transaction is open.
func (c *conn) inTransaction() bool { return sqlite3.Xsqlite3_get_autocommit(c.tls, c.db) == 0 }

// readOnly reports whether SQLite opened the file read-only, which it does silently if the file is not writable.
func (c *conn) readOnly() bool { return sqlite3.Xsqlite3_db_readonly(c.tls, c.db, 0) == 1 }

// interruptWhenDone makes the running statement fail with SQLITE_INTERRUPT when ctx or closed is done. The caller
// defers the returned function.
func (c *conn) interruptWhenDone(ctx context.Context, closed <-chan struct{}) func() {
	tls, db := libc.NewTLS(), c.db
	stop, finished := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(finished)
		select {
		case <-stop:
			return
		case <-ctx.Done():
		case <-closed:
		}
		// SQLite ignores an interrupt between two statements, so repeat it.
		for ticker := time.NewTicker(10 * time.Millisecond); ; {
			sqlite3.Xsqlite3_interrupt(tls, db)
			select {
			case <-stop:
				ticker.Stop()
				return
			case <-ticker.C:
			}
		}
	}()
	return func() {
		close(stop)
		<-finished
		tls.Close()
	}
}

// exec runs one statement without parameters and discards its rows.
func (c *conn) exec(sql string) error {
	s, err := c.compile(sql, 0)
	if err != nil {
		return err
	}
	defer sqlite3.Xsqlite3_finalize(c.tls, s.p)
	for {
		row, err := s.step()
		if err != nil || !row {
			return err
		}
	}
}

// script runs statements separated by semicolons.
func (c *conn) script(sql string) error {
	zSQL, err := libc.CString(sql)
	if err != nil {
		return err
	}
	defer libc.Xfree(c.tls, zSQL)
	if rc := sqlite3.Xsqlite3_exec(c.tls, c.db, zSQL, 0, 0, 0); rc != sqlite3.SQLITE_OK {
		return c.error(rc)
	}
	return nil
}

// int64s runs one statement without parameters and returns the integers of its first row, nil if there is none.
func (c *conn) int64s(sql string, columns int) ([]int64, error) {
	s, err := c.compile(sql, 0)
	if err != nil {
		return nil, err
	}
	defer sqlite3.Xsqlite3_finalize(c.tls, s.p)
	row, err := s.step()
	if err != nil || !row {
		return nil, err
	}
	values := make([]int64, columns)
	for i := range values {
		values[i] = s.int64(i)
	}
	return values, nil
}

// strings runs one statement without parameters and returns the first column of its rows.
func (c *conn) strings(sql string) ([]string, error) {
	s, err := c.compile(sql, 0)
	if err != nil {
		return nil, err
	}
	defer sqlite3.Xsqlite3_finalize(c.tls, s.p)
	var values []string
	for {
		row, err := s.step()
		if err != nil || !row {
			return values, err
		}
		values = append(values, string(s.blob(0)))
	}
}

// stmt is a prepared statement. Before its first step, all its parameters must be bound.
type stmt struct {
	c *conn
	p uintptr // sqlite3_stmt*
}

// prepare compiles a statement that is kept as long as the connection.
func (c *conn) prepare(sql string) (*stmt, error) {
	s, err := c.compile(sql, sqlite3.SQLITE_PREPARE_PERSISTENT)
	if err == nil {
		c.stmts = append(c.stmts, s)
	}
	return s, err
}

func (c *conn) compile(sql string, flags uint32) (*stmt, error) {
	zSQL, err := libc.CString(sql)
	if err != nil {
		return nil, err
	}
	defer libc.Xfree(c.tls, zSQL)
	const ptrSize = int32(unsafe.Sizeof(uintptr(0)))
	ppStmt := sqlite3.Xsqlite3_malloc(c.tls, ptrSize)
	if ppStmt == 0 {
		return nil, errNoMemory
	}
	defer sqlite3.Xsqlite3_free(c.tls, ppStmt)
	if rc := sqlite3.Xsqlite3_prepare_v3(c.tls, c.db, zSQL, -1, flags, ppStmt, 0); rc != sqlite3.SQLITE_OK {
		return nil, c.error(rc)
	}
	return &stmt{c: c, p: *(*uintptr)(cptr(ppStmt))}, nil
}

// bindInt64 binds parameter i, from 1.
func (s *stmt) bindInt64(i int, v int64) {
	sqlite3.Xsqlite3_bind_int64(s.c.tls, s.p, int32(i), v)
}

// bindBlob binds bytes from the arena. An empty span binds an empty blob.
func (s *stmt) bindBlob(i int, b span) {
	if b.n == 0 {
		sqlite3.Xsqlite3_bind_zeroblob(s.c.tls, s.p, int32(i), 0)
		return
	}
	sqlite3.Xsqlite3_bind_blob(s.c.tls, s.p, int32(i), s.c.arena.p+uintptr(b.off), int32(b.n), 0 /* static */)
}

// step reports whether there is a row. It resets the statement after an error or the last row.
func (s *stmt) step() (bool, error) {
	switch rc := sqlite3.Xsqlite3_step(s.c.tls, s.p); rc {
	case sqlite3.SQLITE_ROW:
		return true, nil
	case sqlite3.SQLITE_DONE:
		s.reset()
		return false, nil
	default:
		err := s.c.error(rc)
		s.reset()
		return false, err
	}
}

// run executes the statement and discards its rows.
func (s *stmt) run() error {
	for {
		row, err := s.step()
		if err != nil || !row {
			return err
		}
	}
}

func (s *stmt) reset() { sqlite3.Xsqlite3_reset(s.c.tls, s.p) }

// int64 returns column i (from 0) of the row.
func (s *stmt) int64(i int) int64 { return sqlite3.Xsqlite3_column_int64(s.c.tls, s.p, int32(i)) }

// blob returns column i of the row, valid until the next step.
func (s *stmt) blob(i int) []byte {
	p := sqlite3.Xsqlite3_column_blob(s.c.tls, s.p, int32(i))
	if p == 0 {
		return nil
	}
	n := sqlite3.Xsqlite3_column_bytes(s.c.tls, s.p, int32(i))
	return unsafe.Slice((*byte)(cptr(p)), n)
}

// arena is a growing piece of C memory.
type arena struct {
	p         uintptr
	size, len int
}

// span is a piece of an arena.
type span struct{ off, n int }

// arenaKeep is the largest size that an arena keeps between uses.
const arenaKeep = 1 << 20

// reserve empties the arena and makes room for n bytes.
func (a *arena) reserve(tls *libc.TLS, n int) error {
	a.len = 0
	if n <= a.size && (a.size <= arenaKeep || n > arenaKeep) {
		return nil
	}
	a.free(tls)
	size := max(n, 4096)
	if p := sqlite3.Xsqlite3_malloc64(tls, uint64(size)); p != 0 {
		a.p, a.size = p, size
		return nil
	}
	return errNoMemory
}

// put copies b into the space that reserve has made.
func (a *arena) put(b []byte) span {
	s := span{a.len, len(b)}
	if len(b) > 0 {
		copy(unsafe.Slice((*byte)(cptr(a.p)), a.size)[a.len:], b)
		a.len += len(b)
	}
	return s
}

func (a *arena) free(tls *libc.TLS) {
	if a.p != 0 {
		sqlite3.Xsqlite3_free(tls, a.p)
	}
	*a = arena{}
}
