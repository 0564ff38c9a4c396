package postgres

import (
	"context"
	"errors"
	"net"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgconn"
)

// connConfig returns the configuration for one new connection; it is not shared.
func (l *Log) connConfig() *pgconn.Config {
	c, err := l.files.Current()
	if err != nil {
		l.unreadable.Files(l.logger, err)
	}
	c = c.Copy()
	c.Password = l.passwords.Pick(c.Password)
	l.configure(c)
	return c
}

// authenticated runs connect, and runs it again if the server refused the password and there is another one to try.
func (l *Log) authenticated(connect func() error) error {
	err := connect()
	var e *pgconn.ConnectError
	if errors.As(err, &e) && refusesPassword(err) && l.passwords.Refused(e.Config.Password) {
		err = connect()
	}
	return err
}

func (l *Log) configure(c *pgconn.Config) {
	turn := l.hosts.order(c)
	c.OnNotice = keepNotice
	dial := c.DialFunc
	// On an established connection, pgx dials only to cancel a statement.
	var established atomic.Bool
	c.ValidateConnect = func(ctx context.Context, pg *pgconn.PgConn) error {
		established.Store(true)
		pg.CustomData()[turnKey] = turn
		l.passwords.Accepted(c.Password)
		// Accept only a server that takes writes, even if a host has several addresses.
		err := pgconn.ValidateConnectTargetSessionAttrsReadWrite(ctx, pg)
		established.Store(err == nil)
		return err
	}
	c.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		if established.Load() && !l.cancels() {
			return nil, errNoCancel
		}
		return dial(ctx, network, address)
	}
}

// cancels reports whether a statement whose context ended may be cancelled. It must not be cancelled through a pooler,
// because PgBouncer 1.18 to 1.20 may crash when the cancellation arrives just after the statement ended. Nor may it be
// cancelled where commits wait for a standby: cancelling that wait makes the commit visible although no standby has it.
// Without a cancellation the commit stays invisible until a standby has it, which on a replaced primary is never.
func (l *Log) cancels() bool { return !l.pooled.Load() && !l.durableEnd.Load() }

// errNoCancel prevents pgx from cancelling a statement.
var errNoCancel = errors.New("statements are not cancelled here")

// reconnect drops all idle connections, and those in use when they are released. With several servers it also drops the
// connections for appending and for listening, so that every later call goes to the server that is the primary now.
func (l *Log) reconnect() {
	if l.several {
		l.epoch.Add(1)
	}
	l.followerPool.Reset()
	l.othersPool.Reset()
	l.move()
}

// move ends the subscription to notifications, so that the store subscribes again.
func (l *Log) move() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.moved)
	l.moved = make(chan struct{})
}
