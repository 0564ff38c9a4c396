// Package memory stores the log in the memory of the process, for tests and simulations. Nothing survives the process.
//
// It implements everything that a driver can: [log.Log], [log.Notifier] and [log.Registry]. A [Database] represents the
// database, and each [Log] one replica's connections to it. All changes are made under one lock. Reads copy the tree of
// rows, which costs nothing until rows change. docs/driver.md explains each file.
package memory

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tidwall/btree"

	"github.com/stele-db/stele/drivers/internal/lifetime"
	"github.com/stele-db/stele/logstructured/log"
)

// Database is the database of one log. The zero value is empty and ready to use. Its methods may be called
// concurrently, even while logs are open.
type Database struct {
	mu sync.Mutex
	content
	// clusterID is the identity of the store, 0 until a log first requests it.
	clusterID uint64
	// skew is how far the database's clock is ahead of the machine's.
	skew time.Duration
	// replicas are the registered replicas, by ID.
	replicas map[uint64]log.Replica
	// listeners are the channels of the Listen calls, each with its log.
	listeners map[chan struct{}]*Log
}

// content is the log at one moment. Entries are immutable: a changed entry is replaced.
type content struct {
	rows  btree.Map[log.Position, *log.Entry]
	head  log.Head
	floor log.Position
	// bytes is the memory of the rows, and freed that of the rows deleted since the last Defragment.
	bytes, freed int64
}

// copy returns a copy of c that later changes of c do not affect.
func (c *content) copy() content {
	return content{*c.rows.Copy(), c.head, c.floor, c.bytes, c.freed}
}

// Open returns a log on db. Several logs may be open at the same time.
func (db *Database) Open() *Log { return &Log{db: db, bulk: make(chan struct{}, bulkCalls)} }

// Log is a [log.Log], [log.Notifier] and [log.Registry] on a [Database].
type Log struct {
	db    *Database
	calls lifetime.Calls
	// bulk holds an element for each running Scan and Values, which it bounds like the connections of a database.
	bulk chan struct{}
}

// call runs f as a call of the log. Its error names the operation.
func (l *Log) call(ctx context.Context, op string, f func(context.Context) error) error {
	if err := l.calls.Run(ctx, f); err != nil {
		return fmt.Errorf("memory: %s: %w", op, err)
	}
	return nil
}

// locked runs f as a call that holds the lock of the database throughout.
func (l *Log) locked(ctx context.Context, op string, f func(*Database) error) error {
	return l.call(ctx, op, func(context.Context) error {
		l.db.mu.Lock()
		defer l.db.mu.Unlock()
		return f(l.db)
	})
}

// bulkCalls bounds the concurrent calls of Scan and Values of one log.
const bulkCalls = 8

// beginBulk begins a Scan or Values. It waits while too many are running.
func (l *Log) beginBulk(ctx context.Context) (_ context.Context, done func(), err error) {
	ctx, end, err := l.calls.Begin(ctx)
	if err != nil {
		return nil, nil, err
	}
	select {
	case l.bulk <- struct{}{}:
		return ctx, func() { <-l.bulk; end() }, nil
	case <-ctx.Done():
		defer end()
		return nil, nil, lifetime.Ended(ctx)
	}
}

var (
	_ log.Log      = (*Log)(nil)
	_ log.Notifier = (*Log)(nil)
	_ log.Registry = (*Log)(nil)
)

// now returns the database's clock. The caller holds db.mu.
func (db *Database) now() log.Timestamp { return log.Timestamp(time.Now().Add(db.skew).UnixMilli()) }

// end returns the end of the log in c at the database's time. The caller holds db.mu.
func (db *Database) end(c *content) log.End {
	for db.clusterID == 0 {
		db.clusterID = rand.Uint64()
	}
	return log.End{Head: c.head, Floor: c.floor, Rows: int64(c.rows.Len()), Now: db.now(), ClusterID: db.clusterID}
}

// snapshot returns the content and the end of the log at one moment.
func (db *Database) snapshot() (content, log.End) {
	db.mu.Lock()
	defer db.mu.Unlock()
	c := db.copy()
	return c, db.end(&c)
}

// check returns [log.ErrConflict] if the log does not contain the entry that head names. The zero Head is in every log.
func (c *content) check(head log.Head) error {
	if e, ok := c.rows.Get(head.Position); head == (log.Head{}) || ok && e.ID == head.ID {
		return nil
	}
	return fmt.Errorf("%w: %v is not there", log.ErrConflict, head)
}

// Content is the content of a [Database] at one moment. Its entries share their slices with the database: replace a
// slice instead of changing its elements.
type Content struct {
	// Rows are in the order of their positions.
	Rows  []log.Entry
	Head  log.Head
	Floor log.Position
}

// Content returns the content of db.
func (db *Database) Content() Content {
	c, _ := db.snapshot()
	rows := make([]log.Entry, 0, c.rows.Len())
	c.rows.Scan(func(_ log.Position, e *log.Entry) bool {
		rows = append(rows, *e)
		return true
	})
	return Content{rows, c.head, c.floor}
}

// SetContent replaces the content of db while logs are open, as restoring a backup or damage would.
func (db *Database) SetContent(c Content) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.content = content{head: c.Head, floor: c.Floor}
	for _, e := range c.Rows {
		e.ValueSize = len(e.Value)
		db.rows.Set(e.Position, &e)
		db.bytes += size(&e)
	}
}

// Edit changes the content of db without the drivers' knowledge.
func (db *Database) Edit(edit func(*Content)) {
	c := db.Content()
	edit(&c)
	db.SetContent(c)
}

// SetClock sets how far the database's clock is ahead of the machine's.
func (db *Database) SetClock(ahead time.Duration) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.skew = ahead
}
