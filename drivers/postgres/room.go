package postgres

import (
	"context"
	"fmt"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/logstructured/log"
)

// refused reports whether the server refuses further connections, for this user, for this database or in general.
func refused(err error) bool { return sentinelOf(err) == log.ErrNoConnection } //nolint:errorlint // it is one of ours

// makeRoom is called when the server refuses a connection that is needed. It closes the connections of the class
// others, whose calls share the connections of followers for a while, and the connection that listens.
func (l *Log) makeRoom(refusal error) {
	l.others.Deny()
	if l.othersPool != l.followerPool {
		l.othersPool.Reset()
	}
	l.move()
	l.refusals.Refusal(l.logger, connect.NewFailure("postgres: connect", nil, refusal, ServerText))
}

// writable returns an error while the server refuses the connection for appending, because a replica that can only read
// must not report itself ready. It is cheap otherwise.
func (l *Log) writable(ctx context.Context) error {
	if !l.appender.Refused() {
		return nil
	}
	return translate("end", l.calls.Run(ctx, func(ctx context.Context) error {
		_, unlock, err := l.lockWriter(ctx)
		switch {
		case err == nil:
			unlock()
		case l.appender.Refused():
			err = fmt.Errorf("%w: %w", errRefusedWriter, err)
		}
		return err
	}))
}

// errRefusedWriter reports that the server refuses the connection for appending.
var errRefusedWriter = fmt.Errorf("%w for appending", log.ErrNoConnection)
