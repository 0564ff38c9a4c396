package sqlite

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/logstructured/log"
)

// The number of connections for reading in each class. Each takes up to 1 MiB of page cache after its first use.
const (
	// maxFollowers serve End and Read. The store calls each of them from at most a few goroutines, which must not wait
	// for Values.
	maxFollowers = 2
	// maxReaders serve all other reads, and exceed the number of concurrent bulk reads.
	maxReaders = 6
)

// Log is a [log.Log] in a SQLite file.
type Log struct {
	cfg    config
	logger *logrus.Entry

	// writing holds one token; its holder may use writer.
	writing chan struct{}
	// writer is nil after the connection had to be closed.
	writer *writer
	// checkpoints is the connection of the checkpointing goroutine and of Defragment. checkpointing guards it.
	checkpointing sync.Mutex
	// walWarned reports whether a warning about the size of the WAL was logged since its last restart. checkpointing
	// guards it.
	walWarned   bool
	checkpoints *conn
	connsClosed bool
	// pageSize is the file's page size.
	pageSize atomic.Int64

	// followers and readers hold maxFollowers and maxReaders elements: idle connections, or nil for connections that
	// are not open yet.
	followers, readers class

	// closed is closed by Close, once.
	closed  chan struct{}
	closing sync.Once

	// dirty reports whether the log was written since the last checkpoint.
	dirty atomic.Bool
	// places are the places of the files. state is the latest state of the database file; stateMu guards it.
	places  places
	stateMu sync.Mutex
	state   fileState
	// failure is the first error after which the log stopped, or nil.
	failure atomic.Pointer[failure]
	stop    context.CancelFunc
	// background waits for the goroutines that stop ends.
	background sync.WaitGroup
}

var _ log.Log = (*Log)(nil)
