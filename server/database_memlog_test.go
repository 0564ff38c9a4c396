//go:build memlog

package server

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stele-db/stele/logstructured"
)

// openLog opens a log in memory. With SQLite, compiling with the fuzzer's instrumentation takes a quarter of an hour:
//
//	go test -tags memlog -run - -fuzz FuzzTxnValidation -fuzzminimizetime 1s ./server
func openLog(testing.TB) logstructured.Log { return &memLog{} }

// memLog is a log of one process, under one lock. Row i is at position i+1; a deleted one has no kind.
type memLog struct {
	mu    sync.Mutex
	rows  []logstructured.Entry
	floor logstructured.Position
}

func (l *memLog) end() logstructured.End {
	end := logstructured.End{Floor: l.floor, Now: logstructured.Timestamp(time.Now().UnixMilli()), ClusterID: 7}
	if n := len(l.rows); n > 0 {
		end.Head = logstructured.Head{Position: l.rows[n-1].Position, ID: l.rows[n-1].ID}
	}
	return end
}

func (l *memLog) End(context.Context) (logstructured.End, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end(), nil
}

func (l *memLog) Append(_ context.Context, head logstructured.Head, id logstructured.AppendID, entries []logstructured.Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := l.end()
	if head != end.Head {
		return logstructured.ErrConflict
	}
	logstructured.Seal(head, id, entries)
	for i := range entries {
		e := &entries[i]
		e.Time, e.Checksum, e.ValueSize = end.Now, e.Checksum.At(end.Now), len(e.Value)
		stored := *e
		stored.Key, stored.Value = slices.Clone(e.Key), slices.Clone(e.Value)
		l.rows = append(l.rows, stored)
	}
	return nil
}

func (l *memLog) after(after logstructured.Position) []logstructured.Entry {
	live := slices.Clone(l.rows[min(int(after), len(l.rows)):])
	return slices.DeleteFunc(live, func(e logstructured.Entry) bool { return e.Kind == 0 })
}

func (l *memLog) Read(_ context.Context, after logstructured.Position, limit int) ([]logstructured.Entry, logstructured.End, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rows := l.after(after)
	return rows[:min(limit, len(rows))], l.end(), nil
}

func (l *memLog) Scan(_ context.Context, after logstructured.Position, fn func([]logstructured.Entry) error) (logstructured.End, error) {
	l.mu.Lock()
	rows, end := l.after(after), l.end()
	l.mu.Unlock()
	return end, fn(rows)
}

func (l *memLog) Values(_ context.Context, positions []logstructured.Position) (logstructured.Values, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := logstructured.NewValues(len(positions))
	v.End = l.end()
	for i, p := range positions {
		if row := l.rows[p-1]; row.Kind != 0 {
			v.Values[i], v.IDs[i], v.Checksums[i], v.Found[i] = row.Value, row.ID, row.Checksum, true
		}
	}
	return v, nil
}

func (l *memLog) Confirm(context.Context, logstructured.Head) error { return nil }

func (l *memLog) Delete(_ context.Context, _ logstructured.Head, positions []logstructured.Position, floor logstructured.Position) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.floor = max(l.floor, floor)
	for _, p := range positions {
		if int(p) < len(l.rows) {
			l.rows[p-1] = logstructured.Entry{Position: p}
		}
	}
	return nil
}

func (l *memLog) Size(context.Context) (logstructured.Size, error) {
	return logstructured.Size{Total: 2, InUse: 1}, nil
}

func (l *memLog) Defragment(context.Context) error { return nil }

func (l *memLog) Close() error { return nil }
