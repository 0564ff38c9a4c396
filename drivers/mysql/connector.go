package mysql

import (
	"context"
	"database/sql/driver"
	"net"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/drivers/connect"
)

// connector opens connections whose sessions do not depend on the server's defaults.
type connector struct {
	// servers holds the configuration of each server at the start. count is their number. files holds the current
	// configuration of each, and passwords chooses the password to use.
	servers   []*mysql.Config
	count     int
	files     *connect.Files[[]*mysql.Config]
	passwords connect.Passwords
	logger    *logrus.Entry
	// unreadable warns operators of files that cannot be read.
	unreadable connect.Complaint
	// noDatabase makes connections without selecting the DSN's database, which may not exist yet.
	noDatabase bool
	// timeout bounds one attempt to connect, including the greeting and authentication, because a stopped server still
	// accepts connections.
	timeout time.Duration
	// first is the index of the server to try first: the last one that worked.
	first atomic.Int32
	// syncWait selects the statements that wait, on a Galera node, for the cluster's earlier commits: a sum of 1
	// (SELECT), 2 (UPDATE, DELETE) and 4 (INSERT).
	syncWait int
}

func newConnector(cfg *config, logger *logrus.Entry, syncWait int) (*connector, error) {
	c := &connector{
		servers: cfg.servers, count: len(cfg.servers), files: connect.NewFiles(cfg.servers, cfg.reload), logger: logger,
		syncWait: syncWait, timeout: dialTimeout,
	}
	for _, server := range cfg.servers {
		if _, err := mysql.NewConnector(server); err != nil {
			return nil, errDSN
		}
		c.timeout = server.Timeout
	}
	return c, nil
}

// dialed is the context key of the place where dial stores the connection.
type dialed struct{}

// dial connects as the driver would, and stores the connection for [session.watched].
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if to, ok := ctx.Value(dialed{}).(*net.Conn); ok {
		*to = conn
	}
	return conn, err
}

// debugLogger logs the driver's messages about broken connections at debug level. The affected calls return errors.
type debugLogger struct{ *logrus.Entry }

func (l debugLogger) Print(v ...any) { l.Debug(v...) }

// Driver implements [driver.Connector].
func (c *connector) Driver() driver.Driver { return &mysql.MySQLDriver{} }

// Connect implements [driver.Connector]. It connects to the first server that answers and takes writes, or else to the
// first one that answers.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	first := int(c.first.Load())
	var (
		failed   connectError
		readOnly *session
	)
	for i := range c.count {
		n := (first + i) % c.count
		s, err := c.connect(ctx, n)
		switch {
		case err != nil:
		case !s.readOnly:
			c.first.Store(int32(n))
			if readOnly != nil {
				_ = readOnly.Close()
			}
			return s, nil
		case readOnly == nil:
			readOnly = s
			continue
		default:
			_ = s.Close()
			continue
		}
		failed.add(c.servers[n], err)
		if ctx.Err() != nil {
			c.first.CompareAndSwap(int32(n), int32((n+1)%c.count)) // it used up the time of ctx
			break
		}
	}
	if readOnly != nil {
		return readOnly, nil // each statement that writes checks read_only itself
	}
	failed.user, failed.database = c.servers[0].User, c.servers[0].DBName
	return nil, &failed
}

// skip makes the next connection go to another server, if there is one.
func (c *connector) skip() {
	if n := c.first.Load(); c.count > 1 {
		c.first.CompareAndSwap(n, (n+1)%int32(c.count))
	}
}

func (c *connector) connect(ctx context.Context, n int) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	s, password, err := c.authenticate(ctx, n)
	if refusesPassword(err) && c.passwords.Refused(password) {
		s, password, err = c.authenticate(ctx, n)
	}
	if err != nil {
		return nil, err
	}
	c.passwords.Accepted(password)
	if err := s.initialize(ctx, c.syncWait); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// authenticate makes a connection and returns it with the password that it used.
func (c *connector) authenticate(ctx context.Context, n int) (_ *session, password string, _ error) {
	servers, err := c.files.Current()
	if err != nil {
		c.unreadable.Files(c.logger, err)
	}
	server := servers[n].Clone()
	server.Passwd = c.passwords.Pick(server.Passwd)
	server.Logger = debugLogger{c.logger}
	server.DialFunc = dial
	if c.noDatabase {
		server.DBName = ""
	}
	one, err := mysql.NewConnector(server)
	if err != nil {
		return nil, server.Passwd, errDSN
	}
	var network net.Conn
	conn, err := one.Connect(context.WithValue(ctx, dialed{}, &network))
	if err != nil {
		return nil, server.Passwd, err
	}
	s, err := newSession(conn, network)
	if err != nil {
		_ = conn.Close()
	}
	return s, server.Passwd, err
}
