package logstructured

import (
	"context"

	"github.com/stele-db/stele/logstructured/log"
)

// reporting returns a log whose scans report their progress; report may be nil.
func reporting(l log.Log, report func(read, end log.Position)) log.Log {
	if report == nil {
		return l
	}
	return &reportingLog{Log: l, report: report}
}

// reportingLog reports the position that a scan has read, and the position of the log's head when it was last queried.
// Only one goroutine uses it.
type reportingLog struct {
	log.Log
	report func(read, end log.Position)
	end    log.Position
}

func (l *reportingLog) End(ctx context.Context) (log.End, error) {
	end, err := l.Log.End(ctx)
	if err == nil {
		l.end = end.Position
	}
	return end, err
}

func (l *reportingLog) Scan(ctx context.Context, after log.Position, fn func([]log.Entry) error) (log.End, error) {
	return l.Log.Scan(ctx, after, func(entries []log.Entry) error {
		if len(entries) > 0 {
			l.report(entries[len(entries)-1].Position, l.end)
		}
		return fn(entries)
	})
}
