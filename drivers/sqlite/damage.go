package sqlite

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/stele-db/stele/logstructured/log"
	sqlite3 "modernc.org/sqlite/lib"
)

// locate records the places of the open database's files. SQLite puts the WAL and the shared memory beside the database
// file itself, not beside a symbolic link to it.
func (l *Log) locate() error {
	resolved, err := filepath.EvalSymlinks(l.cfg.path)
	if err != nil {
		return err
	}
	for i, name := range []string{l.cfg.path, resolved + "-wal", resolved + "-shm"} {
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		l.places[i] = place{name, info, identify(name, info)}
	}
	l.state.size, l.state.modified = l.places[0].info.Size(), l.places[0].info.ModTime()
	return nil
}

// inPlace fails the log if one of its files was removed, renamed or replaced, because the next process would not find
// what this one writes.
func (l *Log) inPlace() error {
	if f := l.failure.Load(); f != nil {
		return f
	}
	for i := range l.places {
		if _, err := l.places[i].check(); err != nil {
			return l.damaged(err)
		}
	}
	return nil
}

// damaged fails the log because of a damaged or misplaced file.
func (l *Log) damaged(err error) *failure {
	advice := corruptAdvice
	if errors.Is(err, errGone) || errors.Is(err, errReplaced) {
		advice = movedAdvice
	}
	return l.fail(&failure{advice: advice, sentinel: log.ErrCorrupt, cause: err})
}

// placeInterval is the interval of the periodic checks of the files.
const placeInterval = 250 * time.Millisecond

// watchPlaces checks the files periodically until ctx ends or the log has failed.
func (l *Log) watchPlaces(ctx context.Context) {
	ticker := time.NewTicker(placeInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if l.inPlace() != nil {
			return
		}
		_ = l.read(ctx, l.followers, func(r *reader) error { // if the database is busy, the next check covers it
			l.intact(r.c)
			return nil
		})
	}
}

// intact fails the log if its files are shorter than they must be, or were changed by a program other than SQLite.
func (l *Log) intact(c *conn) {
	err := l.damage(c)
	for range 3 { // another process may be in the middle of a checkpoint or of restarting the WAL
		if err == nil {
			return
		}
		<-time.After(10 * time.Millisecond)
		err = l.damage(c)
	}
	if err != nil {
		_ = l.damaged(err)
	}
}

// damage returns an error if the files are damaged. It sees only their sizes, times and headers.
func (l *Log) damage(c *conn) error {
	l.stateMu.Lock()
	defer l.stateMu.Unlock()
	index, err := c.walIndex()
	if err != nil {
		return nil
	}
	file, err := l.places[0].check()
	if err != nil || file == nil {
		return err
	}
	if err := l.walComplete(index); err != nil {
		return err
	}
	now, page := fileState{index, file.Size(), file.ModTime()}, l.pageSize.Load()
	truncated := func(pages int64) error {
		return fmt.Errorf("%s was truncated: it has %d bytes and not %d", l.places[0].path, now.size, pages*page)
	}
	switch {
	case index.settled() && now.size < index.pages*page:
		return truncated(index.pages)
	case index.settled() && index == l.state.walIndex && !now.modified.Equal(l.state.modified):
		return fmt.Errorf("%s was changed by another program", l.places[0].path)
	case now.size < l.state.size: // after a deletion the file may shrink, and its header then has the new size
		if pages, err := c.headerPages(); err == nil && (pages*page > now.size || pages == 0) {
			return truncated(pages)
		}
	}
	l.state = now
	return nil
}

// walComplete returns an error if the WAL is shorter than its frames require, or not in its place.
func (l *Log) walComplete(index walIndex) error {
	if index.frames == 0 {
		return nil
	}
	if l.places[1].info == nil {
		return nil // not located yet
	}
	size, known, err := l.places[1].stat()
	if err != nil || !known {
		return err
	}
	if want := walHeaderBytes + index.frames*(walFrameBytes+l.pageSize.Load()); size < want {
		return fmt.Errorf("%s was truncated: it has %d bytes and not %d", l.places[1].path, size, want)
	}
	return nil
}

// headerPages returns the number of pages according to the database file's header, which the last checkpoint wrote. It
// returns 0 if there is no header.
func (c *conn) headerPages() (int64, error) {
	db, err := c.database()
	if err != nil {
		return 0, err
	}
	header, err := db.read(0, 100)
	if errors.Is(sentinelOf(err), log.ErrCorrupt) {
		return 0, nil // the file is shorter than its header
	}
	if err != nil {
		return 0, err
	}
	return int64(binary.BigEndian.Uint32(header[28:])), nil
}

// fail records f unless the log has failed before, and returns the first failure.
func (l *Log) fail(f *failure) *failure {
	f.path = l.cfg.path
	l.failure.CompareAndSwap(nil, f)
	return l.failure.Load()
}

// inspectFailure returns and records a failure if the log must not continue after err. Otherwise it returns nil.
func (l *Log) inspectFailure(err error) *failure {
	var f *failure
	var e *Error
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &e) && e.primary() == sqlite3.SQLITE_CANTOPEN:
		_ = l.inPlace() // the file may have been removed
		return l.failure.Load()
	case errors.Is(sentinelOf(err), log.ErrSyncFailed):
		return l.fail(&failure{advice: syncFailedAdvice, sentinel: log.ErrSyncFailed, cause: err})
	case errors.Is(sentinelOf(err), log.ErrCorrupt):
		return l.fail(&failure{advice: corruptAdvice, sentinel: log.ErrCorrupt, cause: err})
	}
	return nil
}

// translate wraps err in the sentinel of its code. It also fails the log if it must not continue after err.
func (l *Log) translate(op string, err error) error {
	if err == nil {
		return nil
	}
	if f := l.inspectFailure(err); f != nil {
		return f
	}
	return failed(op, err)
}
