//go:build memlog

package server

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// openLog opens a log in memory. With SQLite, compiling with the fuzzer's instrumentation takes a quarter of an hour:
//
//	go test -tags memlog -run - -fuzz FuzzTxnValidation -fuzzminimizetime 1s ./server
func openLog(testing.TB) log.Log { return &memLog{} }

// memLog is a log of one process, under one lock. Row i is at position i+1; a deleted one has no kind.
type memLog struct {
	mu    sync.Mutex
	rows  []log.Entry
	floor log.Position
}

func (l *memLog) end() log.End {
	end := log.End{Floor: l.floor, Now: log.Timestamp(time.Now().UnixMilli()), ClusterID: 7}
	if n := len(l.rows); n > 0 {
		end.Head = log.Head{Position: l.rows[n-1].Position, ID: l.rows[n-1].ID}
	}
	return end
}

func (l *memLog) End(context.Context) (log.End, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end(), nil
}

func (l *memLog) Append(_ context.Context, head log.Head, id log.AppendID, entries []log.Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := l.end()
	if head != end.Head {
		return log.ErrConflict
	}
	log.Seal(head, id, entries)
	for i := range entries {
		e := &entries[i]
		e.Time, e.Checksum, e.ValueSize = end.Now, e.Checksum.At(end.Now), len(e.Value)
		stored := *e
		stored.Key, stored.Value = slices.Clone(e.Key), slices.Clone(e.Value)
		l.rows = append(l.rows, stored)
	}
	return nil
}

func (l *memLog) after(after log.Position) []log.Entry {
	live := slices.Clone(l.rows[min(int(after), len(l.rows)):])
	return slices.DeleteFunc(live, func(e log.Entry) bool { return e.Kind == 0 })
}

func (l *memLog) Read(_ context.Context, after log.Position, limit int) ([]log.Entry, log.End, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rows := l.after(after)
	return rows[:min(limit, len(rows))], l.end(), nil
}

func (l *memLog) Scan(_ context.Context, after log.Position, fn func([]log.Entry) error) (log.End, error) {
	l.mu.Lock()
	rows, end := l.after(after), l.end()
	l.mu.Unlock()
	return end, fn(rows)
}

func (l *memLog) Values(_ context.Context, positions []log.Position) (log.Values, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := log.NewValues(len(positions))
	v.End = l.end()
	for i, p := range positions {
		if row := l.rows[p-1]; row.Kind != 0 {
			v.Values[i], v.IDs[i], v.Checksums[i], v.Found[i] = row.Value, row.ID, row.Checksum, true
		}
	}
	return v, nil
}

func (l *memLog) Confirm(context.Context, log.Head) error { return nil }

func (l *memLog) Delete(_ context.Context, _ log.Head, positions []log.Position, floor log.Position) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.floor = max(l.floor, floor)
	for _, p := range positions {
		if int(p) < len(l.rows) {
			l.rows[p-1] = log.Entry{Position: p}
		}
	}
	return nil
}

func (l *memLog) Size(context.Context) (log.Size, error) {
	return log.Size{Total: 2, InUse: 1}, nil
}

func (l *memLog) Defragment(context.Context) error { return nil }

func (l *memLog) Close() error { return nil }
