package logstructured

import (
	"context"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

const (
	// An append may take longer than a request, by this much for each entry and each byte.
	appendEntryTime = 100 * time.Microsecond
	appendByteTime  = time.Microsecond
	// deleteTime bounds one call of Delete.
	deleteTime = time.Minute
)

// boundedLog limits the time of calls to the database. The callers of Scan, Defragment and Size set their own limits.
type boundedLog struct {
	log.Log
	timeout time.Duration
}

func (l boundedLog) End(ctx context.Context) (log.End, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	return l.Log.End(ctx)
}

func (l boundedLog) Read(ctx context.Context, after log.Position, limit int) ([]log.Entry, log.End, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	return l.Log.Read(ctx, after, limit)
}

func (l boundedLog) Values(ctx context.Context, positions []log.Position) (log.Values, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	return l.Log.Values(ctx, positions)
}

func (l boundedLog) Append(ctx context.Context, head log.Head, id log.AppendID, entries []log.Entry) error {
	timeout := l.timeout + time.Duration(len(entries))*appendEntryTime
	for i := range entries {
		timeout += time.Duration(len(entries[i].Key)+len(entries[i].Value)) * appendByteTime
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return l.Log.Append(ctx, head, id, entries)
}

func (l boundedLog) Confirm(ctx context.Context, head log.Head) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	return l.Log.Confirm(ctx, head)
}

func (l boundedLog) Delete(ctx context.Context, applied log.Head, positions []log.Position, floor log.Position) error {
	ctx, cancel := context.WithTimeout(ctx, deleteTime)
	defer cancel()
	return l.Log.Delete(ctx, applied, positions, floor)
}
