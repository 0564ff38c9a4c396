package mysql

import (
	"context"
	"database/sql/driver"
	"net"
	"slices"
	"strconv"
	"strings"
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
		servers: cfg.servers, count: len(cfg.servers), files: connect.NewFiles(cfg.servers, cfg.again), logger: logger,
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

// another makes the next connection go to another server, if there is one.
func (c *connector) another() {
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
	if err := c.prepareSession(ctx, s); err != nil {
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

// sessionSettings are set in every session, as far as the server has them.
var sessionSettings = []struct{ name, value string }{
	// All servers have these, and the driver depends on their values.
	{"sql_mode", "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"},
	{"time_zone", "'+00:00'"},
	{"autocommit", "1"},
	{"unique_checks", "1"},
	{"sql_safe_updates", "0"},
	// With CHAIN, COMMIT would begin a new transaction and leave the next statement uncommitted.
	{"completion_type", "'NO_CHAIN'"},
	// A statement that has outlived its connection must not wait long for a lock.
	{"innodb_lock_wait_timeout", "10"},
	{"lock_wait_timeout", "10"},
	// A scan may take long, both on the server (MySQL, MariaDB) and in the process that receives the rows.
	{"max_execution_time", "0"},
	{"max_statement_time", "0"},
	{"net_write_timeout", "600"},
	{"net_read_timeout", "600"},
	{"wait_timeout", idleSession},
	{"idle_transaction_timeout", "0"},
	{"idle_readonly_transaction_timeout", "0"},
	{"idle_write_transaction_timeout", "0"},
	// Look up lists of positions in the primary key instead of joining them.
	{"optimizer_switch", "'default'"},
	{"in_predicate_conversion_threshold", "0"},
	{"range_optimizer_max_mem_size", "8388608"},
	// Galera: a node outside the majority must not answer reads.
	{"wsrep_dirty_reads", "0"},
	// TiDB: never read an old snapshot.
	{"tidb_low_resolution_tso", "0"},
	{"tidb_enable_external_ts_read", "0"},
	// MySQL 8 caches table sizes for a day.
	{"information_schema_stats_expiry", "0"},
	// TiDB otherwise runs the branches of a UNION ALL concurrently, but the row of the head must come first.
	{"tidb_executor_concurrency", "1"},
	// As on Galera: the server must not retry statements itself.
	{"tidb_retry_limit", "0"},
}

// idleSession is how long the server keeps a connection without statements, in seconds.
const idleSession = "28800"

// prepareSession makes the session independent of the server's defaults.
func (c *connector) prepareSession(ctx context.Context, s *session) error {
	if err := s.liftLimits(ctx); err != nil {
		return err
	}
	names := make([]string, 0, len(sessionSettings)+1)
	for _, setting := range sessionSettings {
		names = append(names, setting.name)
	}
	has, err := s.variables(ctx, append(names, "wsrep_on", "read_only")...)
	if err != nil {
		return err
	}
	s.readOnly = !slices.Contains([]string{"", "0", "OFF"}, strings.ToUpper(has["read_only"]))
	// SET NAMES binary: parameters are bytes that the server must not convert.
	set := []string{"NAMES binary"}
	for _, setting := range sessionSettings {
		if _, ok := has[setting.name]; ok {
			set = append(set, "SESSION "+setting.name+" = "+setting.value)
		}
	}
	if s.galera = isOn(has["wsrep_on"]); s.galera {
		// The server must not retry statements itself: if the first attempt of an INSERT took effect after all, the
		// retry would report a conflict with itself.
		set = append(set, "SESSION wsrep_sync_wait = "+strconv.Itoa(c.syncWait), "SESSION wsrep_retry_autocommit = 0")
	}
	if err := s.execute(ctx, "SET "+strings.Join(set, ", ")); err != nil {
		return err
	}
	// READ COMMITTED: each statement reads the commits before its start, without locks. READ WRITE: the server's
	// default may be READ ONLY.
	return s.execute(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE")
}

// liftLimits lifts the limits that also apply to SHOW, which would hide variables. A row limit would also truncate
// scans without an error.
func (s *session) liftLimits(ctx context.Context) (err error) {
	const limits = "SET SESSION sql_select_limit = 18446744073709551615"
	for _, set := range []string{
		limits + ", SESSION sql_big_selects = 1, SESSION max_statement_time = 0", // MariaDB
		limits + ", SESSION sql_big_selects = 1, SESSION max_execution_time = 0", // MySQL, TiDB
		limits,
	} {
		if err = s.execute(ctx, set); !isNumber(err, errUnknownVariable) {
			break
		}
	}
	return err
}

// variables returns the session variables among names that the server has. It uses SHOW because selecting a variable
// that does not exist is an error, and OR because MariaDB may turn IN into a join that finds nothing here
// (in_predicate_conversion_threshold, optimizer_switch).
func (s *session) variables(ctx context.Context, names ...string) (map[string]string, error) {
	values := map[string]string{}
	err := s.query(ctx, "SHOW VARIABLES WHERE Variable_name = '"+strings.Join(names, "' OR Variable_name = '")+"'", nil, func(row []driver.Value) error {
		values[strings.ToLower(text(row[0]))] = text(row[1])
		return nil
	})
	return values, err
}

func isOn(value string) bool { return value == "1" || strings.EqualFold(value, "ON") }

// Statements that wait for the cluster's earlier commits on Galera. The INSERT of an append need not wait, because the
// cluster certifies it at commit.
const (
	syncReads   = 1
	syncUpdates = 2
)
