package mysql

import (
	"context"
	"database/sql/driver"
	"fmt"
	"math"
	"strconv"

	"github.com/stele-db/stele/drivers/connect"
	"github.com/stele-db/stele/logstructured/log"
)

const (
	// cachedRows bounds the total rows of the cached INSERTs, which take memory in the server. A total of 8256 allows
	// one INSERT of each size up to 128.
	cachedRows = 8256
	// chunkRows is the number of rows of each statement of an append that does not fit into one.
	chunkRows = 512
	// packetReserve and, for each row, rowBytes are the room in a packet for everything except keys and values.
	packetReserve = 4096
	rowBytes      = 160
	// idleTransaction is how long, in seconds, the server waits for the next statement of an append of several. A
	// process stopped in the middle of such an append blocks the appends of other replicas.
	idleTransaction = "10"
)

// writer is the connection for appending.
type writer struct {
	s   *session
	sql *statements
	// maxPacket is the server's limit in bytes.
	maxPacket int
	inserts   map[int]*insert
	rows      int // of all inserts
	uses      uint64
	args      []driver.NamedValue
}

// insert is a prepared conditional INSERT.
type insert struct {
	rawStmt
	lastUse uint64
}

// lockWriter takes the connection for appending and reopens it if necessary. An error means that nothing was sent.
func (l *Log) lockWriter(ctx context.Context) (*writer, error) {
	var w *writer
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case w = <-l.writer:
	}
	// The server may have closed the connection while it was idle. ResetSession detects that without a round trip.
	if w != nil && w.s.ResetSession(ctx) != nil {
		_ = w.s.Close()
		w = nil
	}
	if w == nil {
		var err error
		if w, err = l.appender.Open(ctx); err != nil {
			l.writer <- nil
			return nil, err
		}
	}
	return w, nil
}

// unlockWriter returns the connection, or closes it if err, the error of a statement on it, makes it unusable.
func (l *Log) unlockWriter(w *writer, err error) {
	if !w.s.IsValid() || err != nil && giveUp(err) {
		_ = w.s.Close()
		if err != nil && anotherMaySucceed(err) {
			l.writeServer.skip()
		}
		w = nil
	}
	l.writer <- w
}

func (l *Log) newWriter(ctx context.Context) (*writer, error) {
	conn, err := l.writeServer.Connect(ctx)
	if err != nil {
		return nil, err
	}
	s, ok := conn.(*session)
	if !ok {
		return nil, fmt.Errorf("a connection is a %T", conn) // cannot happen
	}
	v, err := s.variables(ctx, "max_allowed_packet")
	if err == nil {
		err = l.checkPacket(v["max_allowed_packet"])
	}
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	return &writer{
		s: s, sql: &l.sql, maxPacket: int(integer(v["max_allowed_packet"])), inserts: map[int]*insert{},
	}, nil
}

// writable returns an error while the server refuses the connection for appending, because a replica that can only read
// must not report itself ready. It is cheap otherwise.
func (l *Log) writable(ctx context.Context) error {
	if !l.appender.Refused() {
		return nil
	}
	return l.calls.Run(ctx, func(ctx context.Context) error {
		w, err := l.lockWriter(ctx)
		switch {
		case err == nil:
			l.unlockWriter(w, nil)
		case l.appender.Refused():
			err = fmt.Errorf("%w for appending: %w", log.ErrNoConnection, err)
		}
		return err
	})
}

// checkPacket compares max_allowed_packet with the largest value that must fit. A large value is sent in packets of its
// own, a small one together with its key; both must stay below the limit.
func (l *Log) checkPacket(value string) error {
	limit, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return &connect.OpenFailure{Text: fmt.Sprintf("the server's max_allowed_packet is %q: is this MySQL?", value)}
	}
	if need := int64(l.cfg.maxValue) + packetReserve + rowBytes; limit < need {
		// The server rounds the limit down to a multiple of 1024.
		need = (need + 1023) / 1024 * 1024
		return &connect.OpenFailure{Text: fmt.Sprintf("the server's max_allowed_packet is %d bytes, "+
			"which is too little for values of %d bytes: "+
			"either set it to at least %d in the server's configuration, section [mysqld] "+
			"(SET GLOBAL max_allowed_packet = %d serves until the server restarts), "+
			"or lower the limit of requests to %d bytes",
			limit, l.cfg.maxValue, need, need, max(0, min(limit-packetReserve-rowBytes, math.MaxInt32)))}
	}
	return nil
}

// conditionalInsert returns the prepared conditional INSERT for a number of rows. It evicts the least recently used
// INSERTs.
func (w *writer) conditionalInsert(ctx context.Context, rows int) (*insert, error) {
	w.uses++
	if found, ok := w.inserts[rows]; ok {
		found.lastUse = w.uses
		return found, nil
	}
	for w.rows > 0 && w.rows+rows > cachedRows {
		oldest := 0
		for n, i := range w.inserts {
			if oldest == 0 || i.lastUse < w.inserts[oldest].lastUse {
				oldest = n
			}
		}
		_ = w.inserts[oldest].Close() // if the connection is broken, the next statement reports it
		delete(w.inserts, oldest)
		w.rows -= oldest
	}
	p, err := w.s.prepare(ctx, w.sql.inserts(rows, w.sql.firstRow, w.sql.timedRow))
	if err != nil {
		return nil, err
	}
	w.inserts[rows] = &insert{p, w.uses}
	w.rows += rows
	return w.inserts[rows], nil
}

// begin makes room for n parameters.
func (w *writer) begin(n int) {
	if cap(w.args) < n {
		w.args = make([]driver.NamedValue, 0, n+n/4)
	}
}

// release drops the parameters, so that the entries can be garbage-collected.
func (w *writer) release() {
	clear(w.args)
	if w.args = w.args[:0]; cap(w.args) > cachedRows*rowParameters {
		w.args = nil
	}
}

func (w *writer) add(values ...int64) {
	for _, v := range values {
		w.args = append(w.args, driver.NamedValue{Value: v})
	}
}

func (w *writer) addBytes(b []byte) {
	if b == nil {
		b = []byte{} // a nil slice would be NULL
	}
	w.args = append(w.args, driver.NamedValue{Value: b})
}

// addEntries adds the rows that follow after. at is 0 if the statement takes the time from the server's clock.
func (w *writer) addEntries(after log.Position, id log.AppendID, at log.Timestamp, entries []log.Entry) {
	for i := range entries {
		e := &entries[i]
		w.add(int64(after)+1+int64(i), int64(id))
		if at != 0 {
			w.add(int64(at))
		}
		w.add(int64(e.Kind), int64(e.Revision), e.Sub)
		w.addBytes(e.Key)
		w.add(int64(e.CreateRevision), e.Version, int64(e.Lease))
		w.addBytes(e.Value)
		w.add(int64(e.Checksum))
	}
}

// fits reports whether one statement can carry the entries.
func (w *writer) fits(entries []log.Entry) bool {
	return len(entries) <= maxRows && w.chunk(entries, maxRows) == len(entries)
}

// chunk returns how many of the entries fit into one statement, at least 1 and at most limit.
func (w *writer) chunk(entries []log.Entry, limit int) int {
	room := w.maxPacket - packetReserve
	for i := range entries {
		room -= rowBytes + len(entries[i].Key) + len(entries[i].Value)
		if i > 0 && (room < 0 || i == limit) {
			return i
		}
	}
	return len(entries)
}
