package postgres

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/drivers/internal/lifetime"
	"github.com/stele-db/stele/logstructured/log"
)

// Log is a [log.Log], [log.Notifier] and [log.Registry] in a PostgreSQL database.
type Log struct {
	cfg    *config
	logger *logrus.Entry
	sql    *queries
	// followers serve the calls on which every linearizable read and every replica's place among the others depend;
	// others serve the rest. The classes bound the calls, the pools hold the connections.
	followers, others        *connect.Class[*pgxpool.Conn]
	followerPool, othersPool *pgxpool.Pool
	hosts                    hosts
	// files is how to connect, and passwords the choice of passwords for it.
	files     *connect.Files[*pgconn.Config]
	passwords connect.Passwords
	// several tells that the DSN names more than one server.
	several bool

	// writing holds one token: who has taken it may use writer.
	writing chan struct{}
	// writer is nil while there is no connection for appending.
	writer *writer
	// dialing brings the next writer, while it is being connected.
	dialing chan dialed
	// writerPID is the server's process behind the writer: notifications of it are of our own appends.
	writerPID atomic.Uint32

	// self is the ID under which this process is registered, 0 before.
	self atomic.Uint64
	// heard counts what told of another replica, from 1 on. aloneAt is what it was before the registry last showed none, 0 if it showed one.
	heard, aloneAt atomic.Int64

	// pooled tells that a pooler gives transactions any connection: nothing is prepared, nothing is listened to.
	pooled atomic.Bool
	// durableEnd tells that commits wait for a standby, so that End has to commit something.
	durableEnd atomic.Bool
	// told is the newest position that a call of this Log has told of.
	told atomic.Int64

	// refusedWriter is set while the server refuses the connection for appending.
	refusedWriter atomic.Bool
	// refusals warns operators of refused connections, unreadable of files that cannot be read.
	refusals, unreadable connect.Complaint

	// epoch counts how often the connections were made anew because another server may be the primary.
	epoch atomic.Int64

	mu sync.Mutex
	// moved is closed and replaced when all connections are to be made anew.
	moved chan struct{}

	calls lifetime.Calls
}

var (
	_ log.Log      = (*Log)(nil)
	_ log.Notifier = (*Log)(nil)
	_ log.Registry = (*Log)(nil)
)

// request runs f with a connection of the pool, and again with a fresh one if the first turned out to be broken or to lead to a
// server that is not the primary any more. f makes the request and starts over with its results.
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

// reconnect gives up all idle connections, and those in use once they are released. Where there are several servers those for appending
// and for listening are included: each call after it asks the server that is the primary now.
func (l *Log) reconnect() {
	if l.several {
		l.epoch.Add(1)
	}
	l.followerPool.Reset()
	l.othersPool.Reset()
	l.move()
}

// move ends the subscription to notifications, which is then made again.
func (l *Log) move() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.moved)
	l.moved = make(chan struct{})
}

// noticeKey is where a connection keeps that the server has warned.
const noticeKey = "stele.warned"

// keepNotice remembers a warning that came with a statement. There is just one that a statement of ours can meet: that the wait for
// a synchronous standby was broken off.
func keepNotice(c *pgconn.PgConn, n *pgconn.Notice) {
	if n.SeverityUnlocalized == "WARNING" || n.SeverityUnlocalized == "" {
		c.CustomData()[noticeKey] = true
	}
}

func forgetNotice(c *pgconn.PgConn) { delete(c.CustomData(), noticeKey) }

func warned(c *pgconn.PgConn) bool {
	_, ok := c.CustomData()[noticeKey]
	return ok
}

// tell remembers the newest position that a caller knows of.
func (l *Log) tell(p log.Position) {
	for {
		old := l.told.Load()
		if int64(p) <= old || l.told.CompareAndSwap(old, int64(p)) {
			return
		}
	}
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
// end the statement; pgx gives that up after 15 s, which nobody has to wait for.
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
