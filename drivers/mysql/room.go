package mysql

import (
	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/logstructured/log"
)

// refused reports whether the server refuses further connections, for this user or in general.
func refused(err error) bool { return sentinelOf(err) == log.ErrNoConnection } //nolint:errorlint // it is one of ours

// makeRoom is called when the server refuses a connection that is needed. It closes the idle connections of the class
// others, whose calls share the connections of followers for a while.
func (l *Log) makeRoom(refusal error) {
	l.others.Deny()
	if l.othersPool != l.followerPool {
		l.othersPool.SetMaxIdleConns(-1)
		l.othersPool.SetMaxIdleConns(l.keepIdle)
	}
	l.refusals.Refusal(l.logger, connect.NewFailure("mysql: connect", nil, refusal, ServerText))
}
