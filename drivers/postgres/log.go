package postgres

import (
	"sync"
	"sync/atomic"

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
	// heard counts what told of another replica, from 1 on. aloneAt is what it was before the registry last showed
	// none, 0 if it showed one.
	heard, aloneAt atomic.Int64

	// pooled tells that a pooler gives transactions any connection: nothing is prepared, nothing is listened to.
	pooled atomic.Bool
	// durableEnd tells that commits wait for a standby, so that End has to commit something.
	durableEnd atomic.Bool
	// reported is the newest position that a call of this Log has reported.
	reported atomic.Int64

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
