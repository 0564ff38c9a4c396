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

// connector opens connections whose sessions are as this package needs them, whatever the server's defaults are.
type connector struct {
	// servers are how to connect to each server as it was at the start, count is their number, files how to connect to
	// them now, and passwords the choice of passwords for it.
	servers   []*mysql.Config
	count     int
	files     *connect.Files[[]*mysql.Config]
	passwords connect.Passwords
	logger    *logrus.Entry
	// unreadable warns operators of files that cannot be read.
	unreadable connect.Complaint
	// noDatabase leaves the database of the DSN out, which may be missing.
	noDatabase bool
	// timeout bounds one attempt, greeting and authentication included: a server that is stopped still accepts
	// connections.
	timeout time.Duration
	// first is the index of the server to try first: the last one that worked.
	first atomic.Int32
	// syncWait are the kinds of statements that wait, on a Galera node, for what the cluster committed before them: a
	// sum of 1 (SELECT), 2 (UPDATE, DELETE) and 4 (INSERT).
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

// dialed is the key of a context's value that points to where dial leaves the connection.
type dialed struct{}

// dial is the driver's own way of connecting, and remembers the connection for [session.watched].
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if to, ok := ctx.Value(dialed{}).(*net.Conn); ok {
		*to = conn
	}
	return conn, err
}

// debugLogger logs what the driver has to say about connections that break. The calls that are affected return errors.
type debugLogger struct{ *logrus.Entry }

func (l debugLogger) Print(v ...any) { l.Debug(v...) }

// Driver implements [driver.Connector].
func (c *connector) Driver() driver.Driver { return &mysql.MySQLDriver{} }

// Connect implements [driver.Connector]: the first server that answers and takes writes, or else the first one that
// answers.
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
			c.first.CompareAndSwap(int32(n), int32((n+1)%c.count)) // this one took all the time there was
			break
		}
	}
	if readOnly != nil {
		return readOnly, nil // each statement that writes refuses by itself
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

// authenticate makes a connection, with the password that it returns.
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

// sessionSettings are set in every session where the server has them.
var sessionSettings = []struct{ name, value string }{
	// These all servers have, and their values matter.
	{"sql_mode", "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"},
	{"time_zone", "'+00:00'"},
	{"autocommit", "1"},
	{"unique_checks", "1"},
	{"sql_safe_updates", "0"},
	// A COMMIT that began a new transaction would leave the next statement uncommitted.
	{"completion_type", "'NO_CHAIN'"},
	// A statement that outlived its connection must not wait for a lock for long.
	{"innodb_lock_wait_timeout", "10"},
	{"lock_wait_timeout", "10"},
	// Scans may take long, for the server (MySQL, MariaDB) and for who takes the rows.
	{"max_execution_time", "0"},
	{"max_statement_time", "0"},
	{"net_write_timeout", "600"},
	{"net_read_timeout", "600"},
	{"wait_timeout", idleSession},
	{"idle_transaction_timeout", "0"},
	{"idle_readonly_transaction_timeout", "0"},
	{"idle_write_transaction_timeout", "0"},
	// Lists of positions are looked up in the primary key, and not joined.
	{"optimizer_switch", "'default'"},
	{"in_predicate_conversion_threshold", "0"},
	{"range_optimizer_max_mem_size", "8388608"},
	// Galera: a node outside the majority must not answer.
	{"wsrep_dirty_reads", "0"},
	// TiDB: reads must not be of the past.
	{"tidb_low_resolution_tso", "0"},
	{"tidb_enable_external_ts_read", "0"},
	// MySQL 8 remembers sizes for a day.
	{"information_schema_stats_expiry", "0"},
	// TiDB runs the branches of a UNION ALL side by side otherwise; the row of the end is to come before the others.
	{"tidb_executor_concurrency", "1"},
	// As on Galera: no statement is tried again behind our back.
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
	// SET NAMES binary: parameters are bytes, and nothing is to be converted.
	set := []string{"NAMES binary"}
	for _, setting := range sessionSettings {
		if _, ok := has[setting.name]; ok {
			set = append(set, "SESSION "+setting.name+" = "+setting.value)
		}
	}
	if s.galera = isOn(has["wsrep_on"]); s.galera {
		// Never try a statement again behind our back: the guard of an INSERT that took effect after all would report a
		// conflict with itself.
		set = append(set, "SESSION wsrep_sync_wait = "+strconv.Itoa(c.syncWait), "SESSION wsrep_retry_autocommit = 0")
	}
	if err := s.execute(ctx, "SET "+strings.Join(set, ", ")); err != nil {
		return err
	}
	// READ COMMITTED: each statement reads what was committed when it began, without locks. READ WRITE: the default may
	// be another.
	return s.execute(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE")
}

// liftLimits lifts what bounds SHOW, too, and so would hide which variables there are. A limit of rows would take them
// away from scans without an error.
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

// variables returns those of the session's variables that the server has. (SHOW, because asking for a single one that
// is not there is an error. OR, because MariaDB may turn IN into a join that finds nothing here, by
// in_predicate_conversion_threshold and optimizer_switch.)
func (s *session) variables(ctx context.Context, names ...string) (map[string]string, error) {
	values := map[string]string{}
	err := s.query(ctx, "SHOW VARIABLES WHERE Variable_name = '"+strings.Join(names, "' OR Variable_name = '")+"'", nil, func(row []driver.Value) error {
		values[strings.ToLower(text(row[0]))] = text(row[1])
		return nil
	})
	return values, err
}

func isOn(value string) bool { return value == "1" || strings.EqualFold(value, "ON") }

// Kinds of statements that wait for the cluster on Galera. An append's INSERT need not: the cluster decides it when it
// commits.
const (
	syncReads   = 1
	syncUpdates = 2
)
