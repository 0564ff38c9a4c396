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

// read runs f on a connection of the class from.
func (l *Log) read(ctx context.Context, from *connect.Class[*sql.Conn], f func(context.Context, *session) error) error {
	ctx, done, err := l.calls.Begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	conn, leave, err := from.Acquire(ctx)
	if err != nil {
		return lifetime.Because(ctx, err)
	}
	defer leave()
	defer func() { _ = conn.Close() }() // returns it to the pool
	var result error
	err = conn.Raw(func(c any) error {
		s, ok := c.(*session)
		if !ok {
			return fmt.Errorf("a pooled connection is a %T", c) // cannot happen
		}
		unwatched, release := s.watched(ctx)
		result = f(unwatched, s)
		if !release() || result != nil && giveUp(result) {
			return driver.ErrBadConn // makes the pool close it
		}
		return nil
	})
	if result != nil {
		result = lifetime.Because(ctx, result)
		if elsewhere(result) {
			l.readServer.another()
		}
		return result
	}
	if errors.Is(err, driver.ErrBadConn) {
		return nil // ctx ended after f had succeeded
	}
	return err
}

// elsewhere reports whether another server, if the DSN names one, may succeed where this one refused or did not answer.
func elsewhere(err error) bool {
	return isNumber(err, errWsrepNotReady) || errors.Is(sentinelOf(err), log.ErrReadOnly) || errors.Is(err, log.ErrReadOnly) ||
		errors.Is(err, context.DeadlineExceeded)
}
