package sqlite

import (
	"context"
	"errors"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

const (
	// walWarnBytes is the size of the WAL above which Stele warns about a reader that prevents its restart.
	walWarnBytes = 4 * walRestartBytes
	// blockedRest is how long checkpoints pause after one that a reader blocked, in multiples of its duration. Each
	// attempt sorts the whole WAL again.
	blockedRest = 50
)

// checkpointLoop copies the WAL into the file at intervals until ctx ends.
func (l *Log) checkpointLoop(ctx context.Context) {
	if l.cfg.externalCheckpoint {
		<-ctx.Done()
		return
	}
	ticker := time.NewTicker(l.cfg.checkpointInterval)
	defer ticker.Stop()
	failing := false
	var blockedUntil time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if time.Now().Before(blockedUntil) || !l.dirty.Swap(false) {
			continue
		}
		start := time.Now()
		blocked, err := l.checkpoint()
		if blocked {
			blockedUntil = time.Now().Add(blockedRest * time.Since(start))
		}
		if l.failure.Load() != nil {
			return
		}
		if err != nil {
			l.dirty.Store(true)
			if !failing {
				l.logger.WithError(err).Warn(
					"a checkpoint of the SQLite file failed; the write-ahead log grows until one succeeds")
			}
		}
		failing = err != nil
	}
}

// checkpoint copies as much as possible without blocking other connections. If the WAL is large, it restarts it. It
// reports whether a reader prevented the restart.
func (l *Log) checkpoint() (blocked bool, _ error) {
	l.checkpointing.Lock()
	defer l.checkpointing.Unlock()
	wal, err := l.runCheckpoint("PASSIVE")
	if err != nil || wal.pages*l.pageSize.Load() < walRestartBytes {
		return false, err
	}
	// Appends of this process wait here, and those of other processes retry.
	select {
	case <-l.closed:
		return false, nil
	case <-l.writing:
	}
	defer func() { l.writing <- struct{}{} }()
	restarted, err := l.runCheckpoint("RESTART")
	if err != nil || !restarted.busy {
		l.walWarned = false
		return false, err
	}
	if size := wal.pages * l.pageSize.Load(); size > walWarnBytes && !l.walWarned {
		l.walWarned = true
		l.logger.WithField("bytes", size).Warn("the write-ahead log of the SQLite file grows, because a read " +
			"transaction has been open for long; " +
			"end the program that has it, if it is not Stele's own start or a backup")
	}
	return true, nil
}

// walState is the outcome of a checkpoint: the number of pages in the WAL, and how many of them were copied into the
// file.
type walState struct {
	busy          bool
	pages, copied int64
}

// runCheckpoint runs one checkpoint. It reports a busy database in the result, not as an error, because a later
// checkpoint will succeed.
func (l *Log) runCheckpoint(mode string) (walState, error) {
	state, err := l.tryCheckpoint(mode)
	if err == nil {
		return state, nil
	}
	if isBusy(err) {
		return walState{busy: true}, nil
	}
	if f := l.inspectFailure(err); f != nil {
		err = f
	}
	if l.checkpoints != nil {
		_ = l.checkpoints.close()
		l.checkpoints = nil
	}
	return walState{}, err
}

func (l *Log) tryCheckpoint(mode string) (walState, error) {
	if f := l.failure.Load(); f != nil {
		return walState{}, f
	}
	if l.checkpoints == nil {
		c, err := openConn(l.cfg.path, readWrite, l.cfg.vfs)
		if err != nil {
			return walState{}, err
		}
		if err := l.configure(c, readerCacheKiB); err != nil {
			return walState{}, errors.Join(err, c.close())
		}
		l.checkpoints = c
	}
	if l.intact(l.checkpoints); l.failure.Load() != nil {
		return walState{}, l.failure.Load()
	}
	v, err := l.checkpoints.int64s(`PRAGMA wal_checkpoint(`+mode+`)`, 3)
	if err != nil {
		return walState{}, err
	}
	return walState{busy: v[0] != 0, pages: v[1], copied: v[2]}, nil
}

// checkpointFully empties the WAL unless another connection is using it.
func (l *Log) checkpointFully() {
	l.checkpointing.Lock()
	defer l.checkpointing.Unlock()
	if l.connsClosed {
		return
	}
	if _, err := l.runCheckpoint("TRUNCATE"); err != nil && l.failure.Load() == nil {
		l.logger.WithError(err).Warn("the last checkpoint of the SQLite file failed; the next start repeats it")
	}
}

// Defragment implements [log.Log]. It rewrites the file (VACUUM), which temporarily takes up to twice the space of the
// log. It only returns whole free pages to the file system if that space is missing or another program does the
// checkpoints.
func (l *Log) Defragment(ctx context.Context) error {
	if err := l.vacuum(ctx, 0); err != nil {
		return l.translate("defragment", err)
	}
	if l.cfg.externalCheckpoint {
		return nil
	}
	if err := l.rewrite(ctx); err != nil {
		if !errors.Is(sentinelOf(err), log.ErrNoSpace) {
			return l.translate("defragment", err)
		}
		l.logger.WithError(err).Warn(
			"the disk has no room to rewrite the SQLite file; only its free pages were returned")
	}
	l.checkpointFully()
	return nil
}

func (l *Log) rewrite(ctx context.Context) error {
	w, err := l.lockWriter(ctx)
	if err != nil {
		return err
	}
	defer l.unlockWriter()
	defer w.c.interruptWhenDone(ctx, l.closed)()
	err = retryBusy(ctx, l.cfg.busyTimeout, func() error { return w.c.exec(`VACUUM`) })
	if isInterrupted(err) {
		return l.live(ctx)
	}
	l.dirty.Store(true)
	return err
}
