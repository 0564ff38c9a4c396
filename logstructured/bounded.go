package logstructured

import (
	"context"
	"time"
)

const (
	// An append may take longer than a request, by this for each entry and each byte.
	appendEntryTime = 100 * time.Microsecond
	appendByteTime  = time.Microsecond
	// deleteTime bounds one call of Delete.
	deleteTime = time.Minute
)

// boundedLog ends the calls to a database that does not answer. Scan, Defragment and Size are left to their callers.
type boundedLog struct {
	Log
	timeout time.Duration
}

func (l boundedLog) End(ctx context.Context) (End, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	return l.Log.End(ctx)
}

func (l boundedLog) Read(ctx context.Context, after Position, limit int) ([]Entry, End, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	return l.Log.Read(ctx, after, limit)
}

func (l boundedLog) Values(ctx context.Context, positions []Position) (Values, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	return l.Log.Values(ctx, positions)
}

func (l boundedLog) Append(ctx context.Context, head Head, id AppendID, entries []Entry) error {
	timeout := l.timeout + time.Duration(len(entries))*appendEntryTime
	for i := range entries {
		timeout += time.Duration(len(entries[i].Key)+len(entries[i].Value)) * appendByteTime
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return l.Log.Append(ctx, head, id, entries)
}

func (l boundedLog) Confirm(ctx context.Context, head Head) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	return l.Log.Confirm(ctx, head)
}

func (l boundedLog) Delete(ctx context.Context, guard Head, positions []Position, floor Position) error {
	ctx, cancel := context.WithTimeout(ctx, deleteTime)
	defer cancel()
	return l.Log.Delete(ctx, guard, positions, floor)
}
