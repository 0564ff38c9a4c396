package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/internal/driver"
	"github.com/stele-db/stele/drivers/internal/migrations"
)

// Open opens the log at dsn (see the package's documentation). It creates the database and the tables if they are
// missing; if the user lacks the privileges, the error contains the statement to run. It does not retry if the database
// is unreachable. Errors that retrying cannot fix wrap [connect.ErrConfiguration].
func Open(ctx context.Context, dsn string, opts driver.Options) (*Log, error) {
	cfg, err := newConfig(dsn, opts.Options)
	if err != nil {
		return nil, connect.Configuration(err)
	}
	return open(ctx, cfg, opts.Logger, migrationList)
}

func open(ctx context.Context, cfg *config, logger *logrus.Entry, list []migrations.Migration) (*Log, error) {
	l := newLog(cfg, logger)
	if err := l.start(ctx, list); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func newLog(cfg *config, logger *logrus.Entry) *Log {
	l := &Log{
		cfg:     cfg,
		logger:  logger,
		writing: make(chan struct{}, 1),
		moved:   make(chan struct{}),
	}
	l.files = connect.NewFiles(&cfg.pool.ConnConfig.Config, cfg.reload)
	l.appender = connect.NewEssential(
		connect.Source[*writer]{Open: l.connectWriter, Refused: refused, MakeRoom: l.makeRoom})
	l.writing <- struct{}{}
	l.several = severalHosts(&cfg.pool.ConnConfig.Config)
	l.pooled.Store(cfg.pooler)
	l.heard.Store(1)
	return l
}

// start connects, applies the migrations and reads the end of the log.
func (l *Log) start(ctx context.Context, list []migrations.Migration) error {
	if err := l.openPools(ctx); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	w, unlock, err := l.lockWriter(ctx)
	if code(err) == pgerrcode.InvalidCatalogName {
		if err = l.createDatabase(ctx); err == nil {
			w, unlock, err = l.lockWriter(ctx)
		}
	}
	if err != nil {
		return openError("connect", err)
	}
	if !l.cfg.besideKine {
		err = connect.RefuseKine(l.cfg.prefix+"_log", func(query string) (connect.Presence, error) {
			return probe(ctx, w.pg, query)
		})
	}
	if err == nil {
		err = migrate(ctx, w.pg, l.cfg, list)
	}
	if err == nil {
		l.warnAboutLimits(ctx, w.pg)
	}
	unlock()
	if err != nil {
		return openError("prepare the tables", err)
	}
	// Read the end on a second connection, because a replica cannot work with the connection for appending alone.
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	if _, err := l.End(ctx); err != nil {
		return openError("read the end of the log", err)
	}
	return nil
}

// openError adds advice for the operator to err, and marks errors that an administrator has to fix.
func openError(op string, err error) error {
	return connect.OpenError(failure(op, err), permanent(err))
}

// closingConns is how many connections a pool may have in addition to those of its class. pgx counts the connection of
// an interrupted call until it is closed, which takes 15 s if the server does not answer.
const closingConns = 8

// openPools sets up the pools. Connections are made when they are needed.
func (l *Log) openPools(ctx context.Context) error {
	p := l.cfg.pool
	p.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
		c.Config = *l.connConfig()
		return nil
	}
	p.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		return l.prepareSession(ctx, c.PgConn())
	}
	// Do not ping idle connections: a request that fails on a broken one is repeated.
	p.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false }
	follow, others := connect.Divide(int(p.MaxConns))
	followers := p.Copy()
	followers.MaxConns, followers.MinConns, followers.MinIdleConns = int32(follow)+closingConns, 0, 0
	var err error
	if l.followerPool, err = pgxpool.NewWithConfig(ctx, followers); err != nil {
		return err
	}
	l.followers = connect.NewClass(follow, connect.Source[*pgxpool.Conn]{
		Open: l.acquireFrom(l.followerPool), Refused: refused, MakeRoom: l.makeRoom,
	}, nil)
	if others == 0 {
		l.others, l.othersPool = l.followers, l.followerPool
		return nil
	}
	p = p.Copy()
	p.MaxConns = int32(others) + closingConns
	p.MinConns, p.MinIdleConns = min(p.MinConns, int32(others)), min(p.MinIdleConns, int32(others))
	if l.cfg.maxIdle > 0 {
		keep := max(l.cfg.maxIdle-int32(follow), 1)
		p.AfterRelease = func(*pgx.Conn) bool { return l.othersPool.Stat().IdleConns() < keep }
	}
	if l.othersPool, err = pgxpool.NewWithConfig(ctx, p); err != nil {
		return err
	}
	l.others = connect.NewClass(others,
		connect.Source[*pgxpool.Conn]{Open: l.acquireFrom(l.othersPool), Refused: refused}, l.followers)
	return nil
}

// acquireFrom returns a function that acquires a connection from a pool.
func (l *Log) acquireFrom(pool *pgxpool.Pool) func(context.Context) (*pgxpool.Conn, error) {
	return func(ctx context.Context) (c *pgxpool.Conn, err error) {
		err = l.authenticated(func() error {
			c, err = pool.Acquire(ctx)
			return err
		})
		return c, err
	}
}

// MaintenanceDatabase is the database to which the driver connects to create another one.
const MaintenanceDatabase = "postgres"

// createDatabase creates the database of the DSN, unless another replica has created it.
func (l *Log) createDatabase(ctx context.Context) (err error) {
	cfg := l.connConfig()
	cfg.Database = MaintenanceDatabase
	cfg.RuntimeParams = nil
	c, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		if permanent(err) == "" && code(err) != pgerrcode.InvalidCatalogName {
			return err
		}
		return &connect.OpenFailure{
			Text: fmt.Sprintf("the database does not exist, and to create it there is no access to database %q: "+
				"let an administrator run: %s", MaintenanceDatabase, l.cfg.createDatabase()),
			Err: err, Server: ServerText,
		}
	}
	defer func() { err = errors.Join(err, c.Close(ctx)) }()
	if err := apply(ctx, c, migrations.Statement{SQL: l.cfg.createDatabase()}); err != nil {
		return missingRight(err, l.cfg.createDatabase())
	}
	l.logger.WithField("database", l.cfg.pool.ConnConfig.Database).
		Warn("the database did not exist, and was created; if it should have existed, check the endpoint")
	return nil
}

// Close implements [log.Log]. It waits for the calls in progress, which end soon. Closing again does nothing.
func (l *Log) Close() error {
	if !l.calls.Close() {
		return nil
	}
	<-l.writing // the token is never returned
	l.dropWriter()
	if l.dialing != nil {
		if d := <-l.dialing; d.w != nil {
			d.w.close()
		}
	}
	l.closePools()
	return nil
}

// closeGrace bounds the wait of Close for connections to a server that does not answer.
const closeGrace = 2 * time.Second

// closePools closes the connections for reading. The connection of an interrupted call is closed only after pgx has
// asked the server to cancel the statement, for up to 15 s; closePools waits only for closeGrace.
func (l *Log) closePools() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, pool := range []*pgxpool.Pool{l.followerPool, l.othersPool} {
			if pool != nil {
				pool.Close()
			}
		}
	}()
	timer := time.NewTimer(closeGrace)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}
