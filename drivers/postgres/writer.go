package postgres

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/stele-db/stele/drivers/connect"
)

// writer is the connection for appending.
type writer struct {
	pg   *pgconn.PgConn
	wire *wire
	// buf holds the parameters of the append that is under way, and is kept for the next if it is not too large.
	buf []byte
	// epoch is that of the Log when the connection was made.
	epoch int64
}

// lockWriter takes the connection for appending, making it if there is none. The caller calls unlock.
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

// dropWriter gives the connection up. The caller holds the token.
func (l *Log) dropWriter() {
	if l.writer == nil {
		return
	}
	l.writer.close()
	l.writer = nil
}

// close says goodbye, which must not take long when the server does not listen.
func (w *writer) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_ = w.pg.Close(ctx) // what could not be said is of no use any more
}

// dialed is the outcome of an attempt to connect.
type dialed struct {
	w   *writer
	err error
}

// connectTime bounds an attempt to connect to all hosts.
const connectTime = 30 * time.Second

// awaitWriter makes the connection. When ctx ends first the attempt goes on, for the next call: otherwise calls whose patience is
// shorter than connecting takes would never succeed. The caller holds the token; Close awaits the goroutine.
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
			w, err := l.connectWriter(bound)
			for wait := 10 * time.Millisecond; refused(err); wait = min(2*wait, time.Second) {
				l.refusedWriter.Store(true)
				l.makeRoom(err)
				if connect.Pause(bound, wait) != nil {
					break
				}
				w, err = l.connectWriter(bound)
			}
			l.refusedWriter.Store(refused(err))
			result <- dialed{w, err}
		}()
	}
	select {
	case d := <-l.dialing:
		l.dialing = nil
		return d.w, d.err
	case <-ctx.Done():
		if l.refusedWriter.Load() {
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
			w.wire = &wire{Writer: out} // of the host that is being tried: the last one stays
			return pgproto3.NewFrontend(r, w.wire)
		}
		cfg.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler { return &canceler{pg: c, cancels: l.cancels} }
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

// backendPID asks the server for the number of its process. If it is not that which the connection was told, something stands in between.
func backendPID(ctx context.Context, c *pgconn.PgConn) (uint32, error) {
	result := c.ExecParams(ctx, `SELECT pg_backend_pid()::bigint`, nil, nil, nil, binaryResults)
	var pid int64
	for result.NextRow() {
		pid = int64Of(result.Values()[0])
	}
	_, err := result.Close()
	return uint32(pid), err
}

// wire notices when a request could not be sent to its end. The server cannot have taken it as complete then, because what ends
// it (the Sync message, at which the transaction commits) comes last. The goodbye that pgx says on a connection that broke later has no such end:
// that it fails too means nothing.
type wire struct {
	io.Writer
	failed atomic.Bool
}

// syncMessage ends every request of the extended protocol.
var syncMessage = []byte{'S', 0, 0, 0, 4}

func (w *wire) Write(b []byte) (int, error) {
	n, err := w.Writer.Write(b)
	if err != nil && bytes.HasSuffix(b, syncMessage) {
		w.failed.Store(true)
	}
	return n, err
}

// cancelGrace is how long a call waits, after its context ended, for the server's word on what became of it.
const cancelGrace = time.Second

// canceler ends a statement whose context ended, and waits for the server's word. A request that is still being sent is broken off,
// which needs no word.
type canceler struct {
	pg      *pgconn.PgConn
	cancels func() bool
	stop    context.CancelFunc
	done    chan struct{}
}

// HandleCancel implements [ctxwatch.Handler].
func (h *canceler) HandleCancel(context.Context) {
	conn := h.pg.Conn()
	_ = conn.SetWriteDeadline(time.Now())
	_ = conn.SetReadDeadline(time.Now().Add(cancelGrace))
	ctx, stop := context.WithTimeout(context.Background(), cancelGrace)
	h.stop, h.done = stop, make(chan struct{})
	go func() {
		defer close(h.done)
		// A cancellation that comes before the server has read all of the request, or between two steps, has no effect.
		for wait := 5 * time.Millisecond; h.cancels() && ctx.Err() == nil; wait = min(2*wait, 100*time.Millisecond) {
			_ = h.pg.CancelRequest(ctx)
			_ = connect.Pause(ctx, wait)
		}
	}()
}

// HandleUnwatchAfterCancel implements [ctxwatch.Handler].
func (h *canceler) HandleUnwatchAfterCancel() {
	h.stop()
	<-h.done
	_ = h.pg.Conn().SetDeadline(time.Time{})
}
