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

// request runs f with a connection of the class from. It runs f again with a fresh connection if the first one was
// broken or led to a server that is no longer the primary. f sends the request, and resets its results when it is
// called again.
func (l *Log) request(
	ctx context.Context, op string, from *connect.Class[*pgxpool.Conn], f func(context.Context, *pgconn.PgConn) error,
) error {
	return translate(op, l.calls.Run(ctx, func(ctx context.Context) error {
		for attempt := 0; ; attempt++ {
			err := requestOnce(ctx, from, f)
			if err == nil || attempt > 0 || lifetime.Ended(ctx) != nil || !staleConnection(err) {
				return err
			}
			l.reconnect()
		}
	}))
}

func requestOnce(
	ctx context.Context, from *connect.Class[*pgxpool.Conn], f func(context.Context, *pgconn.PgConn) error,
) error {
	c, release, err := from.Acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	defer c.Release()
	pg := c.Conn().PgConn()
	forgetNotice(pg)
	return f(ctx, pg)
}

// rows runs q on c and calls each with its rows, which are valid only during the call.
func (l *Log) rows(
	ctx context.Context, c *pgconn.PgConn, q *query, params [][]byte, each func(row [][]byte) error,
) error {
	result, err := l.exec(ctx, c, q, params)
	if err != nil {
		return err
	}
	for result.NextRow() {
		if err := each(result.Values()); err != nil {
			// Do not receive the remaining rows.
			closed, cancel := context.WithCancel(context.Background())
			cancel()
			_ = c.Close(closed)
			return &stopped{err}
		}
	}
	_, err = result.Close()
	return err
}

// exec runs q. If it returns an error, preparing failed and q was not sent.
func (l *Log) exec(
	ctx context.Context, c *pgconn.PgConn, q *query, params [][]byte,
) (*pgconn.ResultReader, error) {
	if l.pooled.Load() {
		return c.ExecParams(ctx, q.sql, params, q.oids, binaryParams, binaryResults), nil
	}
	if err := prepare(ctx, c, q); err != nil {
		return nil, err
	}
	return c.ExecStatement(ctx, preparedOn(c)[q.name], params, binaryParams, binaryResults), nil
}

// change runs a change that is safe to repeat, and calls each for each row that it returns.
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
	// maxAppendBytes bounds the size of an append: a message of PostgreSQL's protocol has at most 1 GiB.
	maxAppendBytes = 1<<30 - 1<<16
	// keepBuffer is the largest buffer that is kept between appends.
	keepBuffer = 1 << 20
	// maxRaces bounds the retries of a statement that failed because of a concurrent one.
	maxRaces = 20
)

// report records that a caller has seen position p.
func (l *Log) report(p log.Position) {
	for {
		old := l.reported.Load()
		if int64(p) <= old || l.reported.CompareAndSwap(old, int64(p)) {
			return
		}
	}
}
