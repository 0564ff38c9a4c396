package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/internal/driver"
	"github.com/stele-db/stele/drivers/internal/migrations"
)

// Open opens the log at dsn (see the package's documentation). It creates the database and the tables if they are
// missing and the user has the privileges.
func Open(ctx context.Context, dsn string, opts driver.Options) (*Log, error) {
	return open(ctx, dsn, opts, migrationList)
}

func open(ctx context.Context, dsn string, opts driver.Options, list []migrations.Migration) (*Log, error) {
	cfg, err := newConfig(dsn, opts.Options)
	if err != nil {
		return nil, connect.Configuration(err)
	}
	l := &Log{cfg: cfg, logger: opts.Logger, sql: newStatements(cfg), writer: make(chan *writer, 1)}
	if l.readServer, err = newConnector(cfg, opts.Logger, syncReads|syncUpdates); err != nil {
		return nil, connect.Configuration(err)
	}
	if l.writeServer, err = newConnector(cfg, opts.Logger, syncReads); err != nil {
		return nil, connect.Configuration(err)
	}
	if err := l.createDatabase(ctx); err != nil {
		return nil, openError(err)
	}
	l.openPools(opts.Pool)
	l.appender = connect.NewEssential(
		connect.Source[*writer]{Open: l.newWriter, Refused: refused, MakeRoom: l.makeRoom})
	l.writer <- nil
	if err := l.start(ctx, list); err != nil {
		return nil, openError(errors.Join(err, l.Close()))
	}
	return l, nil
}

// The default bounds of the pools.
const (
	defaultMaxOpen = 16
	defaultMaxIdle = 4
)

// openPools sets up the pools. Connections are made when they are needed.
func (l *Log) openPools(p connect.Pool) {
	if p.MaxOpen == 0 {
		p.MaxOpen = defaultMaxOpen
	}
	if p.MaxIdle == 0 {
		p.MaxIdle = defaultMaxIdle
	}
	follow, others := connect.Divide(p.MaxOpen)
	pool := func(open, idle int) *sql.DB {
		db := sql.OpenDB(l.readServer)
		db.SetMaxOpenConns(open)
		db.SetMaxIdleConns(idle)
		db.SetConnMaxLifetime(p.MaxLifetime)
		db.SetConnMaxIdleTime(p.MaxIdleTime)
		return db
	}
	l.followerPool = pool(follow, follow)
	l.followers = connect.NewClass(follow,
		connect.Source[*sql.Conn]{Open: l.followerPool.Conn, Refused: refused, MakeRoom: l.makeRoom}, nil)
	if others == 0 {
		l.others, l.othersPool = l.followers, l.followerPool
		return
	}
	l.keepIdle = max(p.MaxIdle-follow, 1)
	l.othersPool = pool(others, l.keepIdle)
	l.others = connect.NewClass(others,
		connect.Source[*sql.Conn]{Open: l.othersPool.Conn, Refused: refused}, l.followers)
}

func (l *Log) closePools() error {
	if l.othersPool == l.followerPool {
		return l.followerPool.Close()
	}
	return errors.Join(l.followerPool.Close(), l.othersPool.Close())
}

// createDatabase creates the database if it is missing.
func (l *Log) createDatabase(ctx context.Context) error {
	conn, err := l.readServer.Connect(ctx)
	if err == nil {
		return conn.Close()
	}
	if !isNumber(err, errUnknownDatabase) {
		return err
	}
	c, err := newConnector(l.cfg, l.logger, syncReads)
	if err != nil {
		return err
	}
	c.noDatabase = true
	db := sql.OpenDB(c)
	defer func() { _ = db.Close() }()
	connection, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }()
	if err := refuseReadOnly(ctx, connection); err != nil {
		return err
	}
	statement := createDatabaseSQL(l.cfg.database)
	_, err = connection.ExecContext(ctx, statement)
	if err == nil {
		l.logger.WithField("database", l.cfg.database).
			Warn("the database did not exist, and was created; if it should have existed, check the endpoint")
	}
	switch number(err) {
	case errDatabaseDenied, errDenied, errPrivilegeNeeded:
		return &connect.OpenFailure{
			Text: "there is no database " + quoteName(l.cfg.database) +
				" and the user may not create it: let an administrator run: " + statement,
			Err: err, Server: ServerText,
		}
	case errDatabaseExists:
		return nil // another replica created it
	default:
		return err
	}
}

// start checks the server and applies the migrations.
func (l *Log) start(ctx context.Context, list []migrations.Migration) error {
	conn, leave, err := l.followers.Acquire(ctx)
	if err != nil {
		return err
	}
	defer leave()
	defer func() { _ = conn.Close() }()
	if err := onSession(conn, func(s *session) error { return l.checkServer(ctx, s) }); err != nil {
		return err
	}
	if !l.cfg.besideKine {
		if err := connect.RefuseKine(l.cfg.sql("{prefix}_log"), func(query string) (connect.Presence, error) {
			return probe(ctx, conn, query)
		}); err != nil {
			return err
		}
	}
	if err := migrate(ctx, conn, l.cfg, list); err != nil {
		return err
	}
	// Open the connection for appending while the other one is held. A user who may not have both at once could only
	// read.
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	w, err := l.lockWriter(ctx)
	if err == nil {
		l.unlockWriter(w, nil)
	}
	return err
}

// connectTime bounds the attempts to make the connection for appending during Open.
const connectTime = 30 * time.Second

// checkServer refuses a server on which large values do not fit, and warns of one that does not sync its log.
func (l *Log) checkServer(ctx context.Context, s *session) error {
	const packet, flush = "max_allowed_packet", "innodb_flush_log_at_trx_commit"
	has, err := s.variables(ctx, packet, flush)
	if err != nil {
		return err
	}
	if value, ok := has[flush]; ok && value != "1" {
		l.logger.WithField(flush, value).Warn(s.engine.unsynced())
	}
	return l.checkPacket(has[packet])
}

// openError adds advice for the operator to err, and marks errors that an administrator has to fix.
func openError(err error) error { return connect.OpenError(failure("open", err), permanent(err)) }

// Close implements [log.Log]. It waits for the calls in progress, which end soon because their contexts end. Closing
// again does nothing.
func (l *Log) Close() error {
	if !l.calls.Close() {
		return nil
	}
	if w := <-l.writer; w != nil { // the token is never returned
		_ = w.s.Close() // fails only if the connection is already broken
	}
	if err := l.closePools(); err != nil {
		return fmt.Errorf("mysql: close: %w", err)
	}
	return nil
}
