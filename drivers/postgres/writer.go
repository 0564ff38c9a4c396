package postgres

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgproto3"
)

// lockWriter takes the connection for appending and makes it if there is none. The caller calls unlock.
func (l *Log) lockWriter(ctx context.Context) (w *writer, unlock func(), err error) {
	select {
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	case <-l.writing:
	}
	unlock = func() { l.writing <- struct{}{} }
	if w := l.writer; w != nil && (w.pg.IsClosed() || w.epoch != l.epoch.Load() || !quietSocket(w.pg.Conn())) {
		l.dropWriter()
	}
	if l.writer == nil {
		if l.writer, err = l.awaitWriter(ctx); err != nil {
			l.writer = nil
			unlock()
			return nil, nil, err
		}
	}
	return l.writer, unlock, nil
}

// dropWriter closes the connection. The caller holds the token.
func (l *Log) dropWriter() {
	if l.writer == nil {
		return
	}
	l.writer.close()
	l.writer = nil
}

// connectTime bounds an attempt to connect to all hosts.
const connectTime = 30 * time.Second

// awaitWriter makes the connection. If ctx ends first, the attempt continues for the next call; otherwise calls with a
// shorter deadline than connecting takes would never succeed. The caller holds the token; Close waits for the
// goroutine.
func (l *Log) awaitWriter(ctx context.Context) (*writer, error) {
	if l.dialing == nil {
		result := make(chan dialed, 1)
		l.dialing = result
		go func() {
			bound, done, err := l.calls.Begin(context.Background())
			if err != nil {
				result <- dialed{nil, err}
				return
			}
			defer done()
			bound, stop := context.WithTimeout(bound, connectTime)
			defer stop()
			w, err := l.appender.Open(bound)
			result <- dialed{w, err}
		}()
	}
	select {
	case d := <-l.dialing:
		l.dialing = nil
		return d.w, d.err
	case <-ctx.Done():
		if l.appender.Refused() {
			return nil, fmt.Errorf("%w: %w", errRefusedWriter, ctx.Err())
		}
		return nil, ctx.Err()
	}
}

func (l *Log) connectWriter(ctx context.Context) (*writer, error) {
	w := &writer{epoch: l.epoch.Load()}
	if err := l.authenticated(func() (err error) {
		cfg := l.connConfig()
		cfg.BuildFrontend = func(r io.Reader, out io.Writer) *pgproto3.Frontend {
			w.wire = &wire{Writer: out} // each attempt replaces it, so the last host tried remains
			return pgproto3.NewFrontend(r, w.wire)
		}
		cfg.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
			return &canceler{pg: c, cancels: l.cancels}
		}
		w.pg, err = pgconn.ConnectConfig(ctx, cfg)
		return err
	}); err != nil {
		return nil, err
	}
	pid, err := backendPID(ctx, w.pg)
	if err != nil {
		_ = w.pg.Close(ctx)
		return nil, err
	}
	if pid != w.pg.PID() && !l.pooled.Swap(true) {
		l.logger.Info("detected a connection pooler: prepared statements are off, and polling replaces LISTEN")
	}
	l.writerPID.Store(pid)
	if err := l.prepareSession(ctx, w.pg); err != nil {
		_ = w.pg.Close(ctx)
		return nil, err
	}
	if l.sql == nil {
		// CockroachDB has no notifications.
		l.sql = newQueries(l.cfg.prefix, w.pg.ParameterStatus("crdb_version") == "")
	}
	return w, nil
}
