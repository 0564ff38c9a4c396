package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/internal/lifetime"
	"github.com/stele-db/stele/logstructured/log"
)

// run runs f on a connection of the class from.
func (l *Log) run(ctx context.Context, from *connect.Class[*sql.Conn], f func(context.Context, *session) error) error {
	return l.calls.Run(ctx, func(ctx context.Context) error {
		conn, release, err := from.Acquire(ctx)
		if err != nil {
			return err
		}
		defer release()
		defer func() { _ = conn.Close() }() // returns it to the pool
		var result error
		err = onSession(conn, func(s *session) error {
			unwatched, release := s.watched(ctx)
			result = f(unwatched, s)
			if !release() || result != nil && giveUp(result) {
				return driver.ErrBadConn // makes the pool close it
			}
			return nil
		})
		if result != nil {
			if anotherMaySucceed(lifetime.Because(ctx, result)) {
				l.readServer.skip()
			}
			return result
		}
		if errors.Is(err, driver.ErrBadConn) {
			return nil // ctx ended after f had succeeded
		}
		return err
	})
}

// onSession runs f with the session of a pooled connection.
func onSession(conn *sql.Conn, f func(*session) error) error {
	return conn.Raw(func(c any) error {
		s, ok := c.(*session)
		if !ok {
			return fmt.Errorf("a pooled connection is a %T", c) // cannot happen
		}
		return f(s)
	})
}

// anotherMaySucceed reports whether another server, if the DSN names one, may succeed where this one refused or did not
// answer.
func anotherMaySucceed(err error) bool {
	return isNumber(err, errWsrepNotReady) || errors.Is(sentinelOf(err), log.ErrReadOnly) ||
		errors.Is(err, log.ErrReadOnly) || errors.Is(err, context.DeadlineExceeded)
}
