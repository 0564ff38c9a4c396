package sqlite

import (
	"context"
	"errors"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

const (
	// walWarnBytes is the size of the WAL from which on a reader that keeps it from starting over is worth a warning.
	walWarnBytes = 4 * walRestartBytes
	// blockedRest is how many times as long as a checkpoint that a reader was in the way of the next one is put off: it
	// sorts all of the WAL again.
	blockedRest = 50
)

// checkpointLoop copies the WAL into the file, until ctx ends.
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
				l.logger.WithError(err).Warn("a checkpoint of the SQLite file failed; the write-ahead log grows until one succeeds")
			}
		}
		failing = err != nil
	}
}

// checkpoint copies what it can without making anybody wait, and bounds the WAL. It reports whether a reader kept the
// WAL from starting over.
func (l *Log) checkpoint() (blocked bool, _ error) {
	l.checkpointing.Lock()
	defer l.checkpointing.Unlock()
	wal, err := l.runCheckpoint("PASSIVE")
	if err != nil || wal.pages*l.pageSize.Load() < walRestartBytes {
		return false, err
	}
	// Appends of this process wait for their turn here, those of others by retrying.
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
		l.logger.WithField("bytes", size).Warn("the write-ahead log of the SQLite file grows, because a read transaction has been open for long; " +
			"end the program that has it, if it is not Stele's own start or a backup")
	}
	return true, nil
}

// walState is the outcome of a checkpoint: pages in the WAL, and how many of them are in the file.
type walState struct {
	busy          bool
	pages, copied int64
}

// runCheckpoint runs one checkpoint. A busy database is no error: the next one will find it idle.
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

// checkpointFully empties the WAL unless another connection uses it.
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

// Defragment implements [log.Log]. It rewrites the file (VACUUM), which takes up to twice the room of the log for its
// duration; where there is no such room, or another program does the checkpoints, it gives back only whole free pages.
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
		l.logger.WithError(err).Warn("the disk has no room to rewrite the SQLite file; only its free pages were returned")
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
