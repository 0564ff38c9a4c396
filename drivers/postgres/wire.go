package postgres

import (
	"bytes"
	"context"
	"io"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

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

// backendPID asks the server for the number of its process. If it is not that which the connection was reported,
// something stands in between.
func backendPID(ctx context.Context, c *pgconn.PgConn) (uint32, error) {
	result := c.ExecParams(ctx, `SELECT pg_backend_pid()::bigint`, nil, nil, nil, binaryResults)
	var pid int64
	for result.NextRow() {
		pid = int64Of(result.Values()[0])
	}
	_, err := result.Close()
	return uint32(pid), err
}

// wire notices when a request could not be sent to its end. The server cannot have taken it as complete then, because
// what ends it (the Sync message, at which the transaction commits) comes last. The goodbye that pgx says on a
// connection that broke later has no such end: that it fails too means nothing.
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

// canceler ends a statement whose context ended, and waits for the server's word. A request that is still being sent is
// broken off, which needs no word.
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
