package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/internal/lifetime"
	"github.com/stele-db/stele/logstructured/log"
)

// Log is a [log.Log] in a MySQL, MariaDB, Galera or TiDB database.
type Log struct {
	cfg    *config
	logger *logrus.Entry
	sql    statements

	// followers serve the calls on which every linearizable read and every replica's place among the others depend;
	// others serve the rest but for appends. The classes bound the calls, the pools hold the connections.
	followers, others        *connect.Class[*sql.Conn]
	followerPool, othersPool *sql.DB
	// keepIdle is how many idle connections othersPool keeps.
	keepIdle   int
	readServer *connector
	// writer holds one token, which is nil while there is no connection for appending. Who has taken it may use the connection.
	writer      chan *writer
	writeServer *connector

	// refusedWriter is set while the server refuses the connection for appending.
	refusedWriter atomic.Bool
	// refusals warns operators of refused connections.
	refusals connect.Complaint

	calls lifetime.Calls
}

var (
	_ log.Log      = (*Log)(nil)
	_ log.Registry = (*Log)(nil)
)

// read runs f on a connection of a class.
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
	defer func() { _ = conn.Close() }() // gives it back
	var result error
	err = conn.Raw(func(c any) error {
		s, ok := c.(*session)
		if !ok {
			return fmt.Errorf("a pooled connection is a %T", c) // cannot happen
		}
		unwatched, release := s.watched(ctx)
		result = f(unwatched, s)
		if !release() || result != nil && giveUp(result) {
			return driver.ErrBadConn // which closes it
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
		return nil // ctx ended when everything had been done
	}
	return err
}

// elsewhere tells that another server, if there is one, may do what this one refuses or does not answer.
func elsewhere(err error) bool {
	return isNumber(err, errWsrepNotReady) || errors.Is(sentinelOf(err), log.ErrReadOnly) || errors.Is(err, log.ErrReadOnly) ||
		errors.Is(err, context.DeadlineExceeded)
}

// Close implements [log.Log]. It waits for the calls that are under way, which end soon: their contexts do. Closing again does nothing.
func (l *Log) Close() error {
	if !l.calls.Close() {
		return nil
	}
	if w := <-l.writer; w != nil { // for good
		_ = w.s.Close() // at worst the connection is broken already
	}
	if err := l.closePools(); err != nil {
		return fmt.Errorf("mysql: close: %w", err)
	}
	return nil
}
