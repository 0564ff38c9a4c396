package postgres

import (
	"context"
	"fmt"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/internal/lifetime"
	"github.com/stele-db/stele/logstructured/log"
)

// refused reports whether the server takes no further connection of this user, to this database, or at all.
func refused(err error) bool { return sentinelOf(err) == log.ErrNoConnection } //nolint:errorlint // it is one of ours

// makeRoom ends the connections that can be done without, when the server refused one that cannot: those of the other
// class, whose calls share the connections of the first one for a while, and the one that listens.
func (l *Log) makeRoom(refusal error) {
	l.others.Deny()
	if l.othersPool != l.followerPool {
		l.othersPool.Reset()
	}
	l.move()
	l.refusals.Refusal(l.logger, &connect.Failure{Operation: "postgres: connect", Err: refusal, Server: ServerText})
}

// writable returns an error while the server refuses the connection for appending: a replica that could only read must
// not look as if it were ready. Otherwise it costs nothing.
func (l *Log) writable(ctx context.Context) error {
	if !l.refusedWriter.Load() {
		return nil
	}
	bound, end, err := l.calls.Begin(ctx)
	if err != nil {
		return translate("end", err)
	}
	defer end()
	_, unlock, err := l.lockWriter(bound)
	if err != nil && l.refusedWriter.Load() {
		err = fmt.Errorf("%w: %w", errRefusedWriter, err)
	}
	if err != nil {
		return translate("end", lifetime.Because(bound, err))
	}
	unlock()
	return nil
}

// errRefusedWriter reports that there is no connection for appending.
var errRefusedWriter = fmt.Errorf("%w for appending", log.ErrNoConnection)
