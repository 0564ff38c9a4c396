package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/sirupsen/logrus"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/stele-db/stele/drivers/internal/lifetime"
	"github.com/stele-db/stele/logstructured/log"
)

// The reading connections of each class. Each costs up to a mebibyte of page cache, from its first use on.
const (
	// maxFollowers serve End and Read. The store has one caller for each of them at a time, or few: none waits for
	// lists of values.
	maxFollowers = 2
	// maxReaders serve everything else: more than there are bulk reads at a time.
	maxReaders = 6
)

// Log is a [log.Log] in a SQLite file.
type Log struct {
	cfg    config
	logger *logrus.Entry

	// writing holds one token: who has taken it may use writer.
	writing chan struct{}
	// writer is nil after a connection had to be given up.
	writer *writer
	// checkpoints is the connection of the checkpointing goroutine and of Defragment, which hold checkpointing.
	checkpointing sync.Mutex
	// walWarned reports that the size of the WAL was warned of since it last started over; checkpointing guards it.
	walWarned   bool
	checkpoints *conn
	connsClosed bool
	// pageSize is that of the file.
	pageSize atomic.Int64

	// followers and readers hold maxFollowers and maxReaders elements: idle connections, and nil for those not opened
	// yet.
	followers, readers class

	// closed is closed by Close; closing makes that happen once.
	closed  chan struct{}
	closing sync.Once

	// dirty is set by whoever wrote since the last checkpoint.
	dirty atomic.Bool
	// places are where the files have to stay. last is the latest look at the first of them, under looking.
	places  places
	looking sync.Mutex
	last    look
	// failure is the first error after which the log does nothing more, nil while there is none.
	failure atomic.Pointer[failure]
	stop    context.CancelFunc
	// background are the goroutines that end with stop.
	background sync.WaitGroup
}

var _ log.Log = (*Log)(nil)

func newLog(cfg config, logger *logrus.Entry) *Log {
	l := &Log{
		cfg:       cfg,
		logger:    logger,
		writing:   make(chan struct{}, 1),
		followers: newClass(maxFollowers),
		readers:   newClass(maxReaders),
		closed:    make(chan struct{}),
		stop:      func() {},
	}
	l.writing <- struct{}{}
	return l
}

// initialize creates the file if it must and brings the schema up to date. It may be called again after it failed.
func (l *Log) initialize(created bool) (err error) {
	mode := readWrite
	if created {
		mode = create
	}
	c, err := openConn(l.cfg.path, mode, l.cfg.vfs)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	if c.readOnly() {
		return &Error{Code: sqlite3.SQLITE_READONLY, Message: "the file could be opened for reading only"}
	}
	if _, err := schemaVersion(c, l.cfg); err != nil {
		return err // before anything is written
	}
	if created {
		// SQLite has created the file by now, empty; it gives the WAL the same permissions later.
		if err := os.Chmod(l.cfg.path, 0o600); err != nil {
			return err
		}
		// Both are fixed by the first page written. Incremental vacuum lets the file shrink without being rewritten.
		if err := c.exec(fmt.Sprintf(`PRAGMA page_size = %d`, pageSize)); err != nil {
			return err
		}
		if err := c.exec(`PRAGMA auto_vacuum = INCREMENTAL`); err != nil {
			return err
		}
	}
	journal, err := c.strings(`PRAGMA journal_mode = WAL`)
	if err != nil {
		return err
	}
	if len(journal) != 1 || journal[0] != "wal" {
		return &openFailure{path: l.cfg.path, text: "cannot use a write-ahead log: put it on a local file system"}
	}
	if err := l.configure(c, writerCacheKiB); err != nil {
		return err
	}
	page, err := c.int64s(`PRAGMA page_size`, 1)
	if err != nil {
		return err
	}
	l.pageSize.Store(page[0])
	if err := migrate(c, l.cfg); err != nil {
		return err
	}
	if created {
		// The file's entry in the directory, and the end of the rollback journal that SQLite used until WAL mode was
		// set: if the journal came back after the loss of power it would undo everything.
		if err := l.cfg.syncDir(filepath.Dir(l.cfg.path)); err != nil {
			return err
		}
	}
	l.writer, err = newWriter(c)
	return err
}

// secureWAL makes durable what was recovered. After a sync that failed, or a process that ended in the middle of a
// commit, the WAL may hold frames that only the kernel's memory has, and that no further sync would write: SQLite
// recovers and serves them.
func (l *Log) secureWAL() error {
	if l.cfg.synchronous == "OFF" {
		return nil
	}
	w := l.writer
	wal, err := w.c.wal()
	if err != nil {
		return err
	}
	if err := w.begin.run(); err != nil { // so that no other process writes to the WAL
		return err
	}
	return errors.Join(wal.rewrite(), w.rollback.run())
}

const (
	// pageSize is that of new files. It was measured: see DESIGN.md.
	pageSize       = 4096
	writerCacheKiB = 4096
	readerCacheKiB = 1024
)

// configure sets what SQLite does not store in the file.
func (l *Log) configure(c *conn, cacheKiB int) error {
	synchronous := "FULL"
	if l.cfg.synchronous != "" {
		synchronous = l.cfg.synchronous
	}
	for _, pragma := range []string{
		`PRAGMA synchronous = ` + synchronous,
		// macOS: a sync that reaches the disk and not only its cache. Nothing elsewhere.
		`PRAGMA fullfsync = 1`,
		`PRAGMA checkpoint_fullfsync = 1`,
		`PRAGMA wal_autocheckpoint = 0`,
		fmt.Sprintf(`PRAGMA journal_size_limit = %d`, walKeepBytes),
		fmt.Sprintf(`PRAGMA cache_size = -%d`, cacheKiB),
	} {
		if err := c.exec(pragma); err != nil {
			return err
		}
	}
	return l.inPlace() // whatever stands there now may be another file
}

// start checks that the log can be read and begins checkpointing.
func (l *Log) start(ctx context.Context) error {
	if _, err := l.End(ctx); err != nil {
		return errors.Join(err, l.closeConns())
	}
	ctx, l.stop = context.WithCancel(context.WithoutCancel(ctx))
	l.background.Go(func() { l.checkpointLoop(ctx) })
	l.background.Go(func() { l.watchPlaces(ctx) })
	return nil
}

// live returns why a call must not go on, if so.
func (l *Log) live(ctx context.Context) error {
	select {
	case <-l.closed:
		return lifetime.ErrClosed
	default:
	}
	if f := l.failure.Load(); f != nil {
		return f
	}
	return ctx.Err()
}

// Close implements [log.Log]. It waits for the calls that are under way, which fail soon, but for a COMMIT. Closing
// again does nothing.
func (l *Log) Close() (err error) {
	l.closing.Do(func() { err = l.close() })
	return err
}

func (l *Log) close() error {
	close(l.closed)
	l.stop()
	l.background.Wait()
	if !l.cfg.externalCheckpoint {
		// The last connection to the file would do it too, but another process may have it open.
		l.checkpointFully()
	}
	<-l.writing // and nobody gets it back
	if l.failure.Load() == nil && !l.cfg.externalCheckpoint && l.writer != nil {
		if err := l.writer.c.keepWAL(false); err != nil {
			return errors.Join(fmt.Errorf("sqlite: close %s: %w", l.cfg.path, err), l.closeConns())
		}
	}
	if err := l.closeConns(); err != nil {
		return fmt.Errorf("sqlite: close %s: %w", l.cfg.path, err)
	}
	if f := l.failure.Load(); f != nil {
		return f
	}
	return nil
}

func (l *Log) closeConns() error {
	var errs []error
	for _, c := range []class{l.followers, l.readers} {
		for range cap(c) {
			if r := <-c; r != nil {
				errs = append(errs, r.c.close())
			}
		}
	}
	l.checkpointing.Lock()
	defer l.checkpointing.Unlock()
	l.connsClosed = true
	if l.checkpoints != nil {
		errs = append(errs, l.checkpoints.close())
		l.checkpoints = nil
	}
	if l.writer != nil {
		errs = append(errs, l.writer.close())
		l.writer = nil
	}
	return errors.Join(errs...)
}

// Size implements [log.Log]: the database file, without the WAL, which is bounded and transient.
func (l *Log) Size(ctx context.Context) (log.Size, error) {
	var size log.Size
	err := l.read(ctx, l.readers, func(r *reader) error {
		v, err := r.c.int64s(`SELECT page_count * page_size, freelist_count * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size`, 2)
		if err == nil {
			size.Total, size.InUse = v[0], v[0]-v[1]
		}
		return err
	})
	if err != nil {
		return size, l.translate("size", err)
	}
	info, err := os.Stat(l.cfg.path)
	if err != nil {
		return size, fmt.Errorf("sqlite: size: %w", err)
	}
	// The file lags behind the pages until a checkpoint, in both directions.
	size.Total = max(size.Total, info.Size())
	return size, nil
}
