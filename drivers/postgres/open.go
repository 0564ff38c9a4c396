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

// Open opens the log at dsn (see the package's documentation), creating database and tables if they are not there and
// the rights allow it; otherwise the error says which statement to run. A database that cannot be reached is an error
// at once. Errors that retrying cannot fix wrap [connect.ErrConfiguration].
func Open(ctx context.Context, dsn string, opts driver.Options) (*Log, error) {
	cfg, err := parseDSN(dsn)
	if err != nil {
		return nil, connect.Configuration(err)
	}
	if err := cfg.apply(opts.Options); err != nil {
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
	l.files = connect.NewFiles(&cfg.pool.ConnConfig.Config, cfg.again)
	l.writing <- struct{}{}
	l.several = severalHosts(&cfg.pool.ConnConfig.Config)
	l.pooled.Store(cfg.pooler)
	l.heard.Store(1)
	return l
}

// start connects, brings the schema up to date and reads the end.
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
		err = refuseKine(ctx, w.pg, l.cfg.prefix)
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
	// Beside the connection for appending: with one alone a replica could not work.
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	if _, err := l.End(ctx); err != nil {
		return openError("read the end of the log", err)
	}
	return nil
}

// openError marks an error that an administrator has to fix, as opposed to one that may pass, and adds what to do.
func openError(op string, err error) error {
	var known *connect.OpenFailure
	if errors.Is(err, connect.ErrKine) {
		return connect.Configuration(connect.ErrKine)
	}
	if errors.As(err, &known) {
		return connect.Configuration(known)
	}
	failed := failure(op, err)
	if advice := permanent(err); advice != "" {
		failed.Advice = advice
		return connect.Configuration(failed)
	}
	return failed
}

// closingConns is how many connections a pool may have beyond those that its class uses: pgx counts one whose call was
// broken off until it is closed, which takes 15 s where the server does not answer.
const closingConns = 8

// openPools prepares for connecting; the first connection is made when it is needed.
func (l *Log) openPools(ctx context.Context) error {
	p := l.cfg.pool
	p.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
		c.Config = *l.connConfig()
		return nil
	}
	p.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		return l.prepareSession(ctx, c.PgConn())
	}
	// A connection that broke while it was idle is found out by the request itself, which is then made again.
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
	l.others = connect.NewClass(others, connect.Source[*pgxpool.Conn]{Open: l.acquireFrom(l.othersPool), Refused: refused}, l.followers)
	return nil
}

// acquireFrom returns a function that takes a connection from a pool.
func (l *Log) acquireFrom(pool *pgxpool.Pool) func(context.Context) (*pgxpool.Conn, error) {
	return func(ctx context.Context) (c *pgxpool.Conn, err error) {
		err = l.authenticated(func() error {
			c, err = pool.Acquire(ctx)
			return err
		})
		return c, err
	}
}

// MaintenanceDatabase is where a user is connected to create another database.
const MaintenanceDatabase = "postgres"

// createDatabase creates the database of the DSN, unless another replica was faster.
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
			Text: fmt.Sprintf("the database does not exist, and to create it there is no access to database %q: let an administrator run: %s", MaintenanceDatabase, l.cfg.createDatabase()),
			Err:  err, Server: ServerText,
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

// Close implements [log.Log]. It waits for the calls that are under way, which end soon. Closing again does nothing.
func (l *Log) Close() error {
	if !l.calls.Close() {
		return nil
	}
	<-l.writing // for good
	l.dropWriter()
	if l.dialing != nil {
		if d := <-l.dialing; d.w != nil {
			d.w.close()
		}
	}
	l.closePools()
	return nil
}

// closeGrace is how long Close waits for connections to a server that does not answer.
const closeGrace = 2 * time.Second

// closePools closes the connections for reading. A call whose context ended leaves one behind that asks the server to
// end the statement; pgx gives that up after 15 s, and Close does not wait for that.
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
