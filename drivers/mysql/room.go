package mysql

import (
	"context"
	"fmt"
	"time"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/internal/lifetime"
	"github.com/stele-db/stele/logstructured/log"
)

// refused reports whether the server takes no further connection, of this user or at all.
func refused(err error) bool { return sentinelOf(err) == log.ErrNoConnection } //nolint:errorlint // it is one of ours

// makeRoom ends the connections that can be done without, when the server refused one that cannot: those of the other
// class, whose calls share the connections of the first one for a while.
func (l *Log) makeRoom(refusal error) {
	l.others.Deny()
	if l.othersPool != l.followerPool {
		l.othersPool.SetMaxIdleConns(-1)
		l.othersPool.SetMaxIdleConns(l.keepIdle)
	}
	l.refusals.Refusal(l.logger, &connect.Failure{Operation: "mysql: connect", Err: refusal, Server: ServerText})
}

// connectWriter makes the connection for appending. Where the server refuses it, others end for it, until ctx does.
func (l *Log) connectWriter(ctx context.Context) (*writer, error) {
	w, err := l.newWriter(ctx)
	for wait := 10 * time.Millisecond; refused(err); wait = min(2*wait, time.Second) {
		l.refusedWriter.Store(true)
		l.makeRoom(err)
		if ended := connect.Pause(ctx, wait); ended != nil {
			return nil, fmt.Errorf("%w: %w", ended, err)
		}
		w, err = l.newWriter(ctx)
	}
	if err == nil {
		l.refusedWriter.Store(false)
	}
	return w, err
}

// writable returns an error while the server refuses the connection for appending: a replica that could only read must
// not look as if it were ready. Otherwise it costs nothing.
func (l *Log) writable(ctx context.Context) error {
	if !l.refusedWriter.Load() {
		return nil
	}
	ctx, done, err := l.calls.Begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	w, err := l.lockWriter(ctx)
	if err != nil && l.refusedWriter.Load() {
		err = fmt.Errorf("%w for appending: %w", log.ErrNoConnection, err)
	}
	if err != nil {
		return lifetime.Because(ctx, err)
	}
	l.unlockWriter(w, nil)
	return nil
}
