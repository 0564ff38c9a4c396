package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sirupsen/logrus"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/logstructured/log"
)

// Options configure a log beyond its DSN.
type Options struct {
	// Logger is required.
	Logger *logrus.Entry
	// CheckpointInterval is how often the WAL is copied into the file while there are appends. 0 means 200 ms.
	CheckpointInterval time.Duration
	// BesideKine allows creating a log in a file that contains kine's table.
	BesideKine bool
}

// Open opens the log at dsn (see the package's documentation). It creates the file and its directory if they are
// missing, and does not change a file that is not a Stele log.
func Open(ctx context.Context, dsn string, opts Options) (*Log, error) {
	cfg, ignored, err := parseDSN(dsn)
	if err != nil {
		return nil, err
	}
	for _, name := range ignored {
		opts.Logger.WithField("option", name).Warn("an option of the SQLite DSN has no effect: " +
			"the journal is always WAL, synchronous always FULL, and the driver chooses other settings")
	}
	if cfg.checkpointInterval = opts.CheckpointInterval; cfg.checkpointInterval == 0 {
		cfg.checkpointInterval = 200 * time.Millisecond
	}
	cfg.besideKine = opts.BesideKine
	return open(ctx, cfg, opts.Logger)
}

func open(ctx context.Context, cfg config, logger *logrus.Entry) (*Log, error) {
	created, err := prepareFile(cfg)
	if err != nil {
		return nil, err
	}
	if !created {
		warnOldWAL(cfg.path, logger)
		err := retryBusy(ctx, cfg.busyTimeout, func() error { return inspect(cfg) })
		if err != nil {
			return nil, openError(cfg.path, err)
		}
	}
	l := newLog(cfg, logger)
	err = retryBusy(ctx, cfg.busyTimeout, func() error { return l.initialize(created) })
	if err == nil {
		err = l.locate()
	}
	if err == nil {
		err = retryBusy(ctx, cfg.busyTimeout, l.secureWAL)
	}
	if err != nil {
		return nil, openError(cfg.path, errors.Join(err, l.closeConns()))
	}
	if err := l.start(ctx); err != nil {
		return nil, openError(cfg.path, err)
	}
	return l, nil
}

// walLag is how much older than the database file its write-ahead log may be. A checkpoint writes the file later than
// the last append, but by less than this unless a reader delays it.
const walLag = time.Minute

// warnOldWAL warns if the file seems to have been restored while the write-ahead log of the previous file was left
// beside it. SQLite then applies that log to the restored file. The start refuses the result if it is a mixture of
// both; it may also be the state before the restore, without any inconsistency.
func warnOldWAL(path string, logger *logrus.Entry) {
	file, err := os.Stat(path)
	if err != nil {
		return
	}
	wal, err := os.Stat(path + "-wal")
	if err != nil || wal.Size() == 0 || file.ModTime().Sub(wal.ModTime()) < walLag {
		return
	}
	logger.WithFields(logrus.Fields{"file": path, "file-time": file.ModTime(), "wal-time": wal.ModTime()}).
		Warn("the database file is newer than its write-ahead log: " +
			"if it was restored from a backup, stop, remove the files -wal and -shm, and restore it again")
}

// prepareFile creates the directory and reports whether the file has to be created.
func prepareFile(cfg config) (created bool, err error) {
	switch info, err := os.Stat(cfg.path); {
	case err == nil && info.IsDir():
		return false, fmt.Errorf("%s is a directory: name a file in it, such as %s",
			cfg.path, filepath.Join(cfg.path, "state.db"))
	case err == nil && !info.Mode().IsRegular():
		return false, fmt.Errorf("%s is not a regular file: name another one", cfg.path)
	case err == nil:
		return info.Size() == 0, nil
	case !errors.Is(err, os.ErrNotExist):
		return false, failed("examine "+cfg.path, err)
	}
	if cfg.mustExist {
		return false, fmt.Errorf("there is no file %s, and option mode=rw does not create one: use mode=rwc", cfg.path)
	}
	if err := makeDir(filepath.Dir(cfg.path)); err != nil {
		failure := failed("create the directory of "+cfg.path, err)
		if noSpace(err) != 0 {
			failure.Sentinel, failure.Advice = log.ErrNoSpace, diskFullAdvice
		}
		return false, failure
	}
	return true, nil
}

// makeDir creates dir and its parents so that they survive a loss of power.
func makeDir(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return syncDir(parent)
}

// inspect checks an existing file without writing to it. It returns an error unless the file is empty or a Stele log
// that this version can use.
func inspect(cfg config) (err error) {
	c, err := openConn(cfg.path, readOnly, cfg.vfs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	_, err = schemaVersion(c, cfg)
	var e *Error
	if errors.As(err, &e) && e.primary() == sqlite3.SQLITE_READONLY {
		return nil // recovery after a crash needs a connection that may write; initialize checks again
	}
	return err
}

const diskFullAdvice = "the disk is full: free some space or inodes"

// openError adds advice for the operator to an error of opening the file.
func openError(path string, err error) error {
	var known *openFailure
	if errors.As(err, &known) {
		return known
	}
	if errors.Is(err, connect.ErrKine) {
		return fmt.Errorf("%s: %w", path, err)
	}
	failure := failed("open "+path, err)
	var e *Error
	if !errors.As(err, &e) {
		return failure
	}
	if errors.Is(sentinelOf(err), log.ErrNoSpace) {
		failure.Sentinel, failure.Advice = log.ErrNoSpace, diskFullAdvice
		return failure
	}
	switch e.primary() {
	case sqlite3.SQLITE_NOTADB:
		failure.Sentinel, failure.Advice = log.ErrCorrupt, "name another file, or restore this one from a backup"
	case sqlite3.SQLITE_CORRUPT:
		failure.Sentinel, failure.Advice = log.ErrCorrupt, "the file is damaged: restore it from a backup"
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		failure.Sentinel = log.ErrReadOnly
		failure.Advice = fmt.Sprintf(
			"the file cannot be written: make the file and its directory writable for user %d", os.Geteuid())
	case sqlite3.SQLITE_BUSY:
		failure.Advice = "another program has locked the file: stop it"
	}
	return failure
}

// secureWAL makes recovered frames durable. After a failed sync, or a process that ended during a commit, the WAL may
// contain frames that are only in the kernel's memory and that no later sync would write. SQLite nevertheless recovers
// and serves them.
func (l *Log) secureWAL() error {
	if l.cfg.synchronous == "OFF" {
		return nil
	}
	w := l.writer
	wal, err := w.c.wal()
	if err != nil {
		return err
	}
	if err := w.begin.run(); err != nil { // keeps other processes from writing to the WAL
		return err
	}
	return errors.Join(wal.rewrite(), w.rollback.run())
}

// start checks that the log can be read and starts the background goroutines.
func (l *Log) start(ctx context.Context) error {
	if _, err := l.End(ctx); err != nil {
		return errors.Join(err, l.closeConns())
	}
	ctx, l.stop = context.WithCancel(context.WithoutCancel(ctx))
	l.background.Go(func() { l.checkpointLoop(ctx) })
	l.background.Go(func() { l.watchPlaces(ctx) })
	return nil
}

// Close implements [log.Log]. It waits for the calls in progress, which fail soon, except for a COMMIT. Closing again
// does nothing.
func (l *Log) Close() (err error) {
	l.closing.Do(func() { err = l.close() })
	return err
}

func (l *Log) close() error {
	close(l.closed)
	l.stop()
	l.background.Wait()
	if !l.cfg.externalCheckpoint {
		// Closing the last connection would also do it, but another process may have the file open.
		l.checkpointFully()
	}
	<-l.writing // the token is never returned
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
