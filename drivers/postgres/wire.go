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
	// buf holds the parameters of the append in progress. It is reused for the next one if it is not too large.
	buf []byte
	// epoch is the epoch of the Log when the connection was made.
	epoch int64
}

// close sends the closing message, but not for long if the server does not read.
func (w *writer) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_ = w.pg.Close(ctx) // the message is optional
}

// dialed is the outcome of an attempt to connect.
type dialed struct {
	w   *writer
	err error
}

// backendPID asks the server for its process ID. If that is not the ID that the connection announced, there is a pooler
// in between.
func backendPID(ctx context.Context, c *pgconn.PgConn) (uint32, error) {
	result := c.ExecParams(ctx, `SELECT pg_backend_pid()::bigint`, nil, nil, nil, binaryResults)
	var pid int64
	for result.NextRow() {
		pid = int64Of(result.Values()[0])
	}
	_, err := result.Close()
	return uint32(pid), err
}

// wire detects that a request was not sent completely. The server cannot have executed such a request, because the Sync
// message, at which the transaction commits, comes last. pgx's closing message on a connection that broke later does
// not end with Sync, so that its failure is ignored.
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

// cancelGrace is how long a call waits, after its context ended, for the server to report the outcome.
const cancelGrace = time.Second

// canceler cancels a statement whose context ended, and waits for the server to report the outcome. It interrupts a
// request that is still being sent, whose outcome is known: it failed.
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
		// A cancellation has no effect before the server has read the whole request, or between two of its steps, so
		// repeat it.
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
