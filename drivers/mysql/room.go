package mysql

import (
	"github.com/stele-db/stele/drivers/connect"
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
