package postgres

import (
	"context"
	"errors"
	"net"
	"sync"
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
	// Whoever dials again, once there is a connection, wants to cancel a statement of it.
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

// cancels tells whether a statement whose context ended may be cancelled. Not through a pooler: PgBouncer 1.18 to 1.20 may crash of a cancellation that
// comes when its statement has just ended. And not where commits wait for a standby: a wait that is cancelled ends with a commit that everyone
// sees and no standby has. Left alone, it stays invisible until it has, for ever on a former primary.
func (l *Log) cancels() bool { return !l.pooled.Load() && !l.durableEnd.Load() }

// errNoCancel keeps pgx from cancelling.
var errNoCancel = errors.New("statements are not cancelled here")

// hosts is the order in which the servers of a DSN are tried.
type hosts struct {
	mu   sync.Mutex
	turn int
}

// turnKey is where a connection keeps whose turn it was when it was made.
const turnKey = "stele.turn"

// order lets an attempt to connect begin with the host whose turn it is, and returns the turn.
func (h *hosts) order(c *pgconn.Config) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	orderHosts(c, h.turn)
	return h.turn
}

// pass makes later attempts to connect begin with another host than that of c, which accepts statements and does not finish them.
// If that is a standby they find their way back. Several connections to one host count once.
func (h *hosts) pass(c *pgconn.PgConn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.CustomData()[turnKey] == h.turn {
		h.turn++
	}
}

// orderHosts rotates the hosts, with what belongs to each, so that the first of them, counted modulo their number, comes first.
func orderHosts(c *pgconn.Config, first int) {
	all := append([]*pgconn.FallbackConfig{{Host: c.Host, Port: c.Port, TLSConfig: c.TLSConfig}}, c.Fallbacks...)
	var groups [][]*pgconn.FallbackConfig // one for each host: with and without TLS
	for i, f := range all {
		if i > 0 && f.Host == all[i-1].Host && f.Port == all[i-1].Port {
			groups[len(groups)-1] = append(groups[len(groups)-1], f)
			continue
		}
		groups = append(groups, []*pgconn.FallbackConfig{f})
	}
	ordered := make([]*pgconn.FallbackConfig, 0, len(all))
	for i := range groups {
		ordered = append(ordered, groups[(first+i)%len(groups)]...)
	}
	c.Host, c.Port, c.TLSConfig = ordered[0].Host, ordered[0].Port, ordered[0].TLSConfig
	c.Fallbacks = ordered[1:]
}

func severalHosts(c *pgconn.Config) bool {
	for _, f := range c.Fallbacks {
		if f.Host != c.Host || f.Port != c.Port {
			return true
		}
	}
	return false
}
