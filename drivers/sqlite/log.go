package sqlite

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/logstructured/log"
)

// The reading connections of each class. Each costs up to a mebibyte of page cache, from its first use on.
const (
	// maxFollowers serve End and Read. The store has one caller for each of them at a time, or few: none waits for
	// lists of values.
	maxFollowers = 2
	// maxReaders serve everything else: more than there are bulk reads at a time.
	maxReaders = 6
)

// Log is a [log.Log] in a SQLite file.
type Log struct {
	cfg    config
	logger *logrus.Entry

	// writing holds one token: who has taken it may use writer.
	writing chan struct{}
	// writer is nil after a connection had to be given up.
	writer *writer
	// checkpoints is the connection of the checkpointing goroutine and of Defragment, which hold checkpointing.
	checkpointing sync.Mutex
	// walWarned reports that the size of the WAL was warned of since it last started over; checkpointing guards it.
	walWarned   bool
	checkpoints *conn
	connsClosed bool
	// pageSize is that of the file.
	pageSize atomic.Int64

	// followers and readers hold maxFollowers and maxReaders elements: idle connections, and nil for those not opened
	// yet.
	followers, readers class

	// closed is closed by Close; closing makes that happen once.
	closed  chan struct{}
	closing sync.Once

	// dirty reports that the log was written since the last checkpoint.
	dirty atomic.Bool
	// places are where the files have to stay. last is the latest look at the first of them, under looking.
	places  places
	looking sync.Mutex
	last    look
	// failure is the first error after which the log does nothing more, nil while there is none.
	failure atomic.Pointer[failure]
	stop    context.CancelFunc
	// background are the goroutines that end with stop.
	background sync.WaitGroup
}

var _ log.Log = (*Log)(nil)
