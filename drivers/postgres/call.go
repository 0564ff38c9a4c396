package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/internal/lifetime"
	"github.com/stele-db/stele/logstructured/log"
)

// request runs f with a connection of the pool, and again with a fresh one if the first turned out to be broken or to
// lead to a server that is not the primary any more. f makes the request and starts over with its results.
func (l *Log) request(ctx context.Context, op string, from *connect.Class[*pgxpool.Conn], f func(context.Context, *pgconn.PgConn) error) error {
	bound, end, err := l.calls.Begin(ctx)
	if err != nil {
		return translate(op, err)
	}
	defer end()
	for attempt := 0; ; attempt++ {
		err = l.requestOnce(bound, from, f)
		if err == nil || attempt > 0 || lifetime.Ended(bound) != nil || !staleConnection(err) {
			break
		}
		l.reconnect()
	}
	return translate(op, lifetime.Because(bound, err))
}

func (l *Log) requestOnce(ctx context.Context, from *connect.Class[*pgxpool.Conn], f func(context.Context, *pgconn.PgConn) error) error {
	c, leave, err := from.Acquire(ctx)
	if err != nil {
		return err
	}
	defer leave()
	defer c.Release()
	pg := c.Conn().PgConn()
	forgetNotice(pg)
	return f(ctx, pg)
}

// rows runs q on c and calls each with its rows, which are only valid during the call.
func (l *Log) rows(ctx context.Context, c *pgconn.PgConn, q *query, params [][]byte, each func(row [][]byte) error) error {
	result, err := l.exec(ctx, c, q, params)
	if err != nil {
		return err
	}
	for result.NextRow() {
		if err := each(result.Values()); err != nil {
			// What the server still sends is not worth receiving.
			closed, cancel := context.WithCancel(context.Background())
			cancel()
			_ = c.Close(closed)
			return &stopped{err}
		}
	}
	_, err = result.Close()
	return err
}

// exec runs q. A failure to prepare comes out of prepareError, and nothing was run then.
func (l *Log) exec(ctx context.Context, c *pgconn.PgConn, q *query, params [][]byte) (*pgconn.ResultReader, error) {
	if l.pooled.Load() {
		return c.ExecParams(ctx, q.sql, params, q.oids, binaryParams, binaryResults), nil
	}
	if err := prepare(ctx, c, q); err != nil {
		return nil, err
	}
	return c.ExecStatement(ctx, preparedOn(c)[q.name], params, binaryParams, binaryResults), nil
}

// change makes a change that may be made twice, and calls each for each row that it returns.
func (l *Log) change(ctx context.Context, c *pgconn.PgConn, q *query, params [][]byte, each func()) error {
	for race := 0; ; race++ {
		err := l.rows(ctx, c, q, params, func([][]byte) error { each(); return nil })
		if err == nil || !lostRace(err) || race == maxRaces {
			return err
		}
		if err := connect.Pause(ctx, time.Duration(race)*time.Millisecond); err != nil {
			return err
		}
	}
}

const (
	// maxAppendBytes bounds what an append sends: a message of PostgreSQL's protocol has at most 1 GiB.
	maxAppendBytes = 1<<30 - 1<<16
	// keepBuffer is the largest buffer that is kept between appends.
	keepBuffer = 1 << 20
	// maxRaces is how often a statement that another one made fail is repeated.
	maxRaces = 20
)

// report notes that a caller knows of position p.
func (l *Log) report(p log.Position) {
	for {
		old := l.reported.Load()
		if int64(p) <= old || l.reported.CompareAndSwap(old, int64(p)) {
			return
		}
	}
}
