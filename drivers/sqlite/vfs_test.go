package sqlite

import (
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// disk is a layer between SQLite and the files of one directory. It passes writes on to the real files and records
// which of them a sync has made durable, so that it knows what a loss of power would leave.
type disk struct {
	mu    sync.Mutex
	files map[string]*diskFile // by base name

	// afterOp is called with mu held after each write, truncation, sync and removal.
	afterOp func(d *disk)
	// fail, if set, is called before each operation. It returns SQLite's result code with which the operation fails, or
	// 0.
	fail func(op, name string) int32
	// syncs counts by base name.
	syncs map[string]int
}

// diskFile is the state of one file.
type diskFile struct {
	linked  bool   // the directory entry is safe
	safe    []byte // what is safe
	pending []diskOp
	removed bool
}

// diskOp is a write, or a truncation to off if data is nil.
type diskOp struct {
	off  int64
	data []byte
}

const faultyVFS = "stele-test"

var disks sync.Map // directory -> *disk

// newDisk returns a disk for the files of dir, in which logs are opened with the VFS faultyVFS.
func newDisk(t testing.TB, dir string) *disk {
	registerVFS(t)
	d := &disk{files: map[string]*diskFile{}, syncs: map[string]int{}}
	disks.Store(dir, d)
	t.Cleanup(func() { disks.Delete(dir) })
	return d
}

func (f *diskFile) apply(op diskOp) {
	if op.data == nil {
		f.safe = slices.Clone(f.safe[:min(int64(len(f.safe)), op.off)])
		return
	}
	if end := op.off + int64(len(op.data)); end > int64(len(f.safe)) {
		f.safe = append(f.safe, make([]byte, end-int64(len(f.safe)))...)
	}
	copy(f.safe[op.off:], op.data)
}

// lose does what a kernel does when the write-back of some pages fails: it reports that once, to the next sync, and
// considers the pages written. Pages that reached the disk before stay there.
func (f *diskFile) lose() {
	for _, op := range f.pending {
		for off := 0; off < len(op.data); off += 512 {
			if rand.N(2) == 0 {
				f.apply(diskOp{op.off + int64(off), op.data[off:min(off+512, len(op.data))]})
			}
		}
		if op.data == nil {
			f.apply(op)
		}
	}
	f.pending = nil
}

// survival decides which of the unsynced writes survive.
type survival int

const (
	nothing survival = iota // every one is lost
	all                     // none is: the process died, and not the machine
	prefix                  // of each file, those up to a random one survive
	subset                  // any of them survive, and of each any of its sectors
	survivals
)

// image returns the files that a loss of power would leave now, by base name. The caller holds mu.
func (d *disk) image(s survival) map[string][]byte {
	img := map[string][]byte{}
	for name, f := range d.files {
		if strings.HasSuffix(name, "-shm") {
			continue
		}
		if !f.linked && (s == nothing || s != all && rand.N(2) == 0) {
			continue
		}
		if f.removed && (s == all || rand.N(2) == 0) {
			continue
		}
		after := diskFile{safe: slices.Clone(f.safe)}
		keep := len(f.pending)
		if s == prefix {
			keep = rand.N(keep + 1)
		}
		for _, op := range f.pending[:keep] {
			switch s {
			case all, prefix:
				after.apply(op)
			case subset:
				if rand.N(3) == 0 {
					continue
				}
				for off := 0; off < len(op.data); off += 512 {
					if rand.N(4) > 0 {
						after.apply(diskOp{op.off + int64(off), op.data[off:min(off+512, len(op.data))]})
					}
				}
				if op.data == nil {
					after.apply(op)
				}
			}
		}
		img[name] = after.safe
	}
	return img
}

// writeImage writes the files of an image.
func writeImage(t testing.TB, dir string, img map[string][]byte) {
	t.Helper()
	for name, data := range img {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// syncDir makes creations and removals durable.
func (d *disk) syncDir(string) error {
	d.mu.Lock()
	defer d.done()
	maps.DeleteFunc(d.files, func(_ string, f *diskFile) bool { return f.removed })
	for _, f := range d.files {
		f.linked = true
	}
	return nil
}

// before returns the result code of fail. It returns with mu held.
func (d *disk) before(op, name string) int32 {
	d.mu.Lock()
	if d.fail != nil {
		return d.fail(op, name)
	}
	return 0
}

func (d *disk) done() {
	if d.afterOp != nil {
		d.afterOp(d)
	}
	d.mu.Unlock()
}

// file returns the state of the file name. The caller holds mu.
func (d *disk) file(name string) *diskFile {
	if d.files[name] == nil {
		d.files[name] = &diskFile{}
	}
	return d.files[name]
}

// The virtual file system: SQLite's own for Unix, with a few functions replaced.

var (
	registerOnce sync.Once
	unixVFS      uintptr
	openFiles    sync.Map // uintptr (sqlite3_file*) -> *openFile
	tables       = map[uintptr]uintptr{}
	tablesMu     sync.Mutex
)

type openFile struct {
	disk    *disk
	name    string
	methods *sqlite3.Tsqlite3_io_methods
}

// fn makes a C function pointer of a top-level Go function.
func fn[F any](f F) uintptr { return *(*uintptr)(unsafe.Pointer(&f)) }

// call makes a Go function of a C function pointer.
func call[F any](p uintptr) F { return *(*F)(unsafe.Pointer(&p)) }

type (
	openFn   = func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32
	deleteFn = func(*libc.TLS, uintptr, uintptr, int32) int32
	closeFn  = func(*libc.TLS, uintptr) int32
	writeFn  = func(*libc.TLS, uintptr, uintptr, int32, int64) int32
	sizeFn   = func(*libc.TLS, uintptr, int64) int32
)

func registerVFS(t testing.TB) {
	registerOnce.Do(func() {
		tls := libc.NewTLS() // kept: the registration is for good
		name, err := libc.CString("unix")
		if err != nil {
			t.Fatal(err)
		}
		unixVFS = sqlite3.Xsqlite3_vfs_find(tls, name)
		p := sqlite3.Xsqlite3_malloc(tls, int32(unsafe.Sizeof(sqlite3.Tsqlite3_vfs{})))
		vfs := (*sqlite3.Tsqlite3_vfs)(cptr(p))
		*vfs = *(*sqlite3.Tsqlite3_vfs)(cptr(unixVFS))
		if vfs.FzName, err = libc.CString(faultyVFS); err != nil {
			t.Fatal(err)
		}
		vfs.FpNext = 0
		vfs.FxOpen = fn(vfsOpen)
		vfs.FxDelete = fn(vfsDelete)
		if rc := sqlite3.Xsqlite3_vfs_register(tls, p, 0); rc != 0 {
			t.Fatalf("sqlite3_vfs_register: %d", rc)
		}
	})
}

func unix() *sqlite3.Tsqlite3_vfs { return (*sqlite3.Tsqlite3_vfs)(cptr(unixVFS)) }

func diskOf(zName uintptr) (*disk, string) {
	if zName == 0 {
		return nil, ""
	}
	path := libc.GoString(zName)
	d, ok := disks.Load(filepath.Dir(path))
	if !ok {
		return nil, ""
	}
	return d.(*disk), filepath.Base(path)
}

func vfsOpen(tls *libc.TLS, _, zName, pFile uintptr, flags int32, pOut uintptr) int32 {
	rc := call[openFn](unix().FxOpen)(tls, unixVFS, zName, pFile, flags, pOut)
	d, name := diskOf(zName)
	if rc != sqlite3.SQLITE_OK || d == nil {
		return rc
	}
	file := (*sqlite3.Tsqlite3_file)(cptr(pFile))
	openFiles.Store(pFile, &openFile{d, name, (*sqlite3.Tsqlite3_io_methods)(cptr(file.FpMethods))})
	file.FpMethods = wrapMethods(tls, file.FpMethods)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file(name).removed {
		d.files[name] = &diskFile{}
	}
	return rc
}

// wrapMethods returns a copy of the method table at p with the methods that the disk records replaced.
func wrapMethods(tls *libc.TLS, p uintptr) uintptr {
	tablesMu.Lock()
	defer tablesMu.Unlock()
	if tables[p] == 0 {
		q := sqlite3.Xsqlite3_malloc(tls, int32(unsafe.Sizeof(sqlite3.Tsqlite3_io_methods{})))
		methods := (*sqlite3.Tsqlite3_io_methods)(cptr(q))
		*methods = *(*sqlite3.Tsqlite3_io_methods)(cptr(p))
		methods.FxClose = fn(vfsClose)
		methods.FxWrite = fn(vfsWrite)
		methods.FxTruncate = fn(vfsTruncate)
		methods.FxSync = fn(vfsSync)
		tables[p] = q
	}
	return tables[p]
}

func lookup(pFile uintptr) *openFile {
	f, _ := openFiles.Load(pFile)
	return f.(*openFile)
}

func vfsClose(tls *libc.TLS, pFile uintptr) int32 {
	f := lookup(pFile)
	openFiles.Delete(pFile)
	return call[closeFn](f.methods.FxClose)(tls, pFile)
}

func vfsWrite(tls *libc.TLS, pFile, buf uintptr, n int32, off int64) int32 {
	f := lookup(pFile)
	rc := f.disk.before("write", f.name)
	defer f.disk.done()
	if rc != 0 {
		return rc
	}
	if rc = call[writeFn](f.methods.FxWrite)(tls, pFile, buf, n, off); rc == sqlite3.SQLITE_OK {
		file := f.disk.file(f.name)
		file.pending = append(file.pending, diskOp{off, slices.Clone(unsafe.Slice((*byte)(cptr(buf)), n))})
	}
	return rc
}

func vfsTruncate(tls *libc.TLS, pFile uintptr, size int64) int32 {
	f := lookup(pFile)
	rc := f.disk.before("truncate", f.name)
	defer f.disk.done()
	if rc != 0 {
		return rc
	}
	if rc = call[sizeFn](f.methods.FxTruncate)(tls, pFile, size); rc == sqlite3.SQLITE_OK {
		file := f.disk.file(f.name)
		file.pending = append(file.pending, diskOp{off: size})
	}
	return rc
}

func vfsSync(tls *libc.TLS, pFile uintptr, flags int32) int32 {
	f := lookup(pFile)
	rc := f.disk.before("sync", f.name)
	defer f.disk.done()
	if rc != 0 {
		f.disk.file(f.name).lose()
		return rc
	}
	// Leave out the real sync, because hundreds of them would take long.
	f.disk.syncs[f.name]++
	file := f.disk.file(f.name)
	for _, op := range file.pending {
		file.apply(op)
	}
	file.pending, file.linked = nil, true
	return sqlite3.SQLITE_OK
}

func vfsDelete(tls *libc.TLS, _, zName uintptr, syncDir int32) int32 {
	d, name := diskOf(zName)
	if d == nil {
		return call[deleteFn](unix().FxDelete)(tls, unixVFS, zName, syncDir)
	}
	rc := d.before("delete", name)
	defer d.done()
	if rc != 0 {
		return rc
	}
	if rc = call[deleteFn](unix().FxDelete)(tls, unixVFS, zName, syncDir); rc == sqlite3.SQLITE_OK {
		d.file(name).removed = true
		if syncDir != 0 {
			maps.DeleteFunc(d.files, func(n string, _ *diskFile) bool { return n == name })
		}
	}
	return rc
}
