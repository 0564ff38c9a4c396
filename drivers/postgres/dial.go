package postgres

import (
	"context"
	"errors"
	"net"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgconn"
)

// connConfig returns the configuration of one new connection, which is not shared with others.
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

// authenticated runs connect, and again if the server refused the password and there is another one to try.
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
	// pgx dials again on an established connection only to cancel a statement.
	var established atomic.Bool
	c.ValidateConnect = func(ctx context.Context, pg *pgconn.PgConn) error {
		established.Store(true)
		pg.CustomData()[turnKey] = turn
		l.passwords.Accepted(c.Password)
		// With several hosts, or several addresses of one, only a server that takes writes is of use.
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

// cancels tells whether a statement whose context ended may be cancelled. Not through a pooler: PgBouncer 1.18 to 1.20
// may crash of a cancellation that comes when its statement has just ended. And not where commits wait for a standby: a
// wait that is cancelled ends with a commit that everyone sees and no standby has. Left alone, it stays invisible until
// it has, for ever on a former primary.
func (l *Log) cancels() bool { return !l.pooled.Load() && !l.durableEnd.Load() }

// errNoCancel keeps pgx from cancelling.
var errNoCancel = errors.New("statements are not cancelled here")

// reconnect gives up all idle connections, and those in use once they are released. Where there are several servers
// those for appending and for listening are included: each call after it asks the server that is the primary now.
func (l *Log) reconnect() {
	if l.several {
		l.epoch.Add(1)
	}
	l.followerPool.Reset()
	l.othersPool.Reset()
	l.move()
}

// move ends the subscription to notifications, which is then made again.
func (l *Log) move() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.moved)
	l.moved = make(chan struct{})
}
