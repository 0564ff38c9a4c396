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
	// followers serves the calls on which linearizable reads and the registration of replicas depend; others serves all
	// other calls except appends. The classes bound the calls, and the pools hold the connections.
	followers, others        *connect.Class[*pgxpool.Conn]
	followerPool, othersPool *pgxpool.Pool
	hosts                    hosts
	// files holds the current configuration for connecting, and passwords chooses among the passwords.
	files     *connect.Files[*pgconn.Config]
	passwords connect.Passwords
	// several reports that the DSN names more than one server.
	several bool

	// writing holds one token; its holder may use writer.
	writing chan struct{}
	// writer is nil while there is no connection for appending.
	writer *writer
	// dialing delivers the next writer while it is being connected.
	dialing chan dialed
	// writerPID is the process ID of the writer's server process. Its notifications are about our own appends.
	writerPID atomic.Uint32

	// self is the ID under which this process is registered, 0 before it registers.
	self atomic.Uint64
	// heard counts the signs of other replicas, starting at 1. aloneAt is 0 if the latest read of the registry showed
	// another replica. Otherwise it is the value of heard just before that read.
	heard, aloneAt atomic.Int64

	// pooled reports that a pooler may give each transaction any connection: the driver does not prepare or LISTEN.
	pooled atomic.Bool
	// durableEnd reports that commits wait for a standby, so that End has to commit.
	durableEnd atomic.Bool
	// reported is the newest position that a call of this Log has reported.
	reported atomic.Int64

	// appender makes the connection for appending.
	appender *connect.Essential[*writer]
	// refusals warns operators of refused connections, unreadable of files that cannot be read.
	refusals, unreadable connect.Complaint

	// epoch is incremented when all connections are dropped because another server may be the primary.
	epoch atomic.Int64

	mu sync.Mutex
	// moved is closed and replaced when all connections are dropped.
	moved chan struct{}

	calls lifetime.Calls
}

var (
	_ log.Log      = (*Log)(nil)
	_ log.Notifier = (*Log)(nil)
	_ log.Registry = (*Log)(nil)
)
