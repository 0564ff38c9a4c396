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

// locate notes where the files of the open database are. SQLite puts the other two beside the file itself, whatever
// symbolic link leads there.
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
	l.last.size, l.last.modified = l.places[0].info.Size(), l.places[0].info.ModTime()
	return nil
}

// inPlace fails the log when one of its files was removed, renamed or replaced: the next process would not find what is
// written here.
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

// damaged fails the log for what a look at its files has shown.
func (l *Log) damaged(err error) *failure {
	advice := corruptAdvice
	if errors.Is(err, errGone) || errors.Is(err, errReplaced) {
		advice = movedAdvice
	}
	return l.fail(&failure{advice: advice, sentinel: log.ErrCorrupt, cause: err})
}

// placeInterval is how often the files are looked at beside the appends.
const placeInterval = 250 * time.Millisecond

// watchPlaces looks at the files until ctx ends or the log has failed.
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
		_ = l.read(ctx, l.followers, func(r *reader) error { // a busy database is looked at the next time
			l.intact(r.c)
			return nil
		})
	}
}

// intact fails the log when its files are shorter than what was written to them, or were written by something other
// than SQLite.
func (l *Log) intact(c *conn) {
	err := l.damage(c)
	for range 3 { // another process may be in the middle of a checkpoint, or starting the WAL over
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

// damage returns what is wrong with the files, as far as a look at them shows it.
func (l *Log) damage(c *conn) error {
	l.looking.Lock()
	defer l.looking.Unlock()
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
	now, page := look{index, file.Size(), file.ModTime()}, l.pageSize.Load()
	truncated := func(pages int64) error {
		return fmt.Errorf("%s was truncated: it has %d bytes and not %d", l.places[0].path, now.size, pages*page)
	}
	switch {
	case index.settled() && now.size < index.pages*page:
		return truncated(index.pages)
	case index.settled() && index == l.last.walIndex && !now.modified.Equal(l.last.modified):
		return fmt.Errorf("%s was changed by another program", l.places[0].path)
	case now.size < l.last.size: // as after a deletion: then the header says so
		if pages, err := c.headerPages(); err == nil && (pages*page > now.size || pages == 0) {
			return truncated(pages)
		}
	}
	l.last = now
	return nil
}

// walComplete returns an error if the WAL is shorter than its frames, or not at its place.
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

// headerPages returns the number of pages that the header in the database file states, as of the last checkpoint, and 0
// without a header.
func (c *conn) headerPages() (int64, error) {
	db, err := c.database()
	if err != nil {
		return 0, err
	}
	header, err := db.read(0, 100)
	if errors.Is(sentinelOf(err), log.ErrCorrupt) {
		return 0, nil // the file is shorter than that
	}
	if err != nil {
		return 0, err
	}
	return int64(binary.BigEndian.Uint32(header[28:])), nil
}

// fail notes f unless the log has failed before, and returns the failure that counts.
func (l *Log) fail(f *failure) *failure {
	f.path = l.cfg.path
	l.failure.CompareAndSwap(nil, f)
	return l.failure.Load()
}

// inspectFailure notes err if it is one after which the log must not go on, and returns the failure then.
func (l *Log) inspectFailure(err error) *failure {
	var f *failure
	var e *Error
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &e) && e.primary() == sqlite3.SQLITE_CANTOPEN:
		_ = l.inPlace() // it may be gone
		return l.failure.Load()
	case errors.Is(sentinelOf(err), log.ErrSyncFailed):
		return l.fail(&failure{advice: syncFailedAdvice, sentinel: log.ErrSyncFailed, cause: err})
	case errors.Is(sentinelOf(err), log.ErrCorrupt):
		return l.fail(&failure{advice: corruptAdvice, sentinel: log.ErrCorrupt, cause: err})
	}
	return nil
}

// translate wraps err in the sentinel of its code, and notes a failure after which the log does nothing more.
func (l *Log) translate(op string, err error) error {
	if err == nil {
		return nil
	}
	if f := l.inspectFailure(err); f != nil {
		return f
	}
	return failed(op, err)
}
