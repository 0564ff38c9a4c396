package logstructured_test

import (
	"context"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// memDatabase is a log in memory that keeps the contract of [log.Log] by one lock: for the fuzzer, which opens a store for each
// input, and for tests that give the database a history no real one has. Everything else runs over SQLite.
type memDatabase struct {
	mu    sync.Mutex
	rows  []log.Entry
	head  log.Head
	floor log.Position
	// skew is how far its clock is ahead of the machine's.
	skew time.Duration
}

// backup is what a memDatabase held at one moment.
type backup struct {
	rows  []log.Entry
	head  log.Head
	floor log.Position
}

func (db *memDatabase) backup() backup {
	db.mu.Lock()
	defer db.mu.Unlock()
	return backup{slices.Clone(db.rows), db.head, db.floor}
}

func (db *memDatabase) restore(b backup) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.rows, db.head, db.floor = slices.Clone(b.rows), b.head, b.floor
}

// dropChecksums makes all rows those of a version that knew no checksums.
func (db *memDatabase) dropChecksums() {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.rows = slices.Clone(db.rows)
	for i := range db.rows {
		db.rows[i].Checksum = 0
	}
}

// change changes the stored row at a position.
func (db *memDatabase) change(position log.Position, change func(*log.Entry)) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.rows = slices.Clone(db.rows)
	for i := range db.rows {
		if db.rows[i].Position == position {
			change(&db.rows[i])
		}
	}
}

func (db *memDatabase) setClock(ahead time.Duration) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.skew = ahead
}

// now is the database's clock. db.mu is held.
func (db *memDatabase) now() log.Timestamp { return log.Timestamp(time.Now().Add(db.skew).UnixMilli()) }

// stands tells whether head's entry is in its place. db.mu is held.
func (db *memDatabase) stands(head log.Head) bool {
	return head == (log.Head{}) || slices.ContainsFunc(db.rows, func(e log.Entry) bool {
		return e.Position == head.Position && e.ID == head.ID
	})
}

// memLog is one process's connection to a memDatabase.
type memLog struct{ db *memDatabase }

var _ log.Log = memLog{}

func (l memLog) end() log.End {
	return log.End{Head: l.db.head, Floor: l.db.floor, Now: l.db.now(), ClusterID: 7}
}

// after returns the rows with position > p.
func (l memLog) after(p log.Position) []log.Entry {
	i := sort.Search(len(l.db.rows), func(i int) bool { return l.db.rows[i].Position > p })
	return l.db.rows[i:]
}

func (l memLog) End(ctx context.Context) (log.End, error) {
	l.db.mu.Lock()
	defer l.db.mu.Unlock()
	return l.end(), ctx.Err()
}

func (l memLog) Append(ctx context.Context, head log.Head, id log.AppendID, entries []log.Entry) error {
	l.db.mu.Lock()
	defer l.db.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if head != l.db.head {
		return log.ErrConflict
	}
	now := l.db.now()
	log.Seal(head, id, entries)
	for i := range entries {
		e := &entries[i]
		e.Time, e.Checksum = now, e.Checksum.At(now)
		stored := *e
		// What the store does with its slices afterwards is its own affair.
		stored.Key, stored.Value = slices.Clone(e.Key), slices.Clone(e.Value)
		l.db.rows = append(l.db.rows, stored)
		l.db.head = log.Head{Position: e.Position, ID: id}
	}
	return nil
}

func (l memLog) Confirm(ctx context.Context, head log.Head) error {
	l.db.mu.Lock()
	defer l.db.mu.Unlock()
	if !l.db.stands(head) {
		return log.ErrConflict
	}
	return ctx.Err()
}

func (l memLog) Read(ctx context.Context, after log.Position, limit int) ([]log.Entry, log.End, error) {
	l.db.mu.Lock()
	defer l.db.mu.Unlock()
	var entries []log.Entry
	size := 0
	for _, e := range l.after(after) {
		if len(entries) >= limit || size > 8<<20 {
			break
		}
		e.ValueSize = len(e.Value)
		entries = append(entries, e)
		size += len(e.Key) + len(e.Value)
	}
	return entries, l.end(), ctx.Err()
}

func (l memLog) Scan(ctx context.Context, after log.Position, fn func([]log.Entry) error) (log.End, error) {
	l.db.mu.Lock()
	entries, end := slices.Clone(l.after(after)), l.end()
	l.db.mu.Unlock()
	for batch := range slices.Chunk(entries, 100) {
		for i := range batch {
			batch[i].ValueSize = len(batch[i].Value)
			if batch[i].Kind == log.KindPut {
				batch[i].Value = nil
			}
		}
		if err := fn(batch); err != nil {
			return log.End{}, err
		}
	}
	return end, ctx.Err()
}

func (l memLog) Values(ctx context.Context, positions []log.Position) (log.Values, error) {
	l.db.mu.Lock()
	defer l.db.mu.Unlock()
	v := log.NewValues(len(positions))
	v.End = l.end()
	for i, p := range positions {
		if rows := l.after(p - 1); len(rows) > 0 && rows[0].Position == p {
			v.Values[i], v.IDs[i], v.Checksums[i], v.Found[i] = rows[0].Value, rows[0].ID, rows[0].Checksum, true
		}
	}
	return v, ctx.Err()
}

func (l memLog) Delete(ctx context.Context, guard log.Head, positions []log.Position, floor log.Position) error {
	l.db.mu.Lock()
	defer l.db.mu.Unlock()
	if !l.db.stands(guard) {
		return log.ErrConflict
	}
	l.db.floor = max(l.db.floor, floor)
	dead := map[log.Position]bool{}
	for _, p := range positions {
		dead[p] = p != l.db.head.Position
	}
	// Readers hold slices of the old array.
	var kept []log.Entry
	for _, e := range l.db.rows {
		if !dead[e.Position] {
			kept = append(kept, e)
		}
	}
	l.db.rows = kept
	return ctx.Err()
}

func (l memLog) Size(ctx context.Context) (log.Size, error) {
	return log.Size{Total: 4096, InUse: 4096}, ctx.Err()
}
func (l memLog) Defragment(ctx context.Context) error { return ctx.Err() }
func (l memLog) Close() error                         { return nil }
