package logstructured

import "context"

// reporting returns a log whose scans report their progress; report may be nil.
func reporting(log Log, report func(read, end Position)) Log {
	if report == nil {
		return log
	}
	return &reportingLog{Log: log, report: report}
}

// reportingLog reports the position that a scan has read, and that of the log's end as last asked. Only one goroutine uses it.
type reportingLog struct {
	Log
	report func(read, end Position)
	end    Position
}

func (l *reportingLog) End(ctx context.Context) (End, error) {
	end, err := l.Log.End(ctx)
	if err == nil {
		l.end = end.Position
	}
	return end, err
}

func (l *reportingLog) Scan(ctx context.Context, after Position, fn func([]Entry) error) (End, error) {
	return l.Log.Scan(ctx, after, func(entries []Entry) error {
		if len(entries) > 0 {
			l.report(entries[len(entries)-1].Position, l.end)
		}
		return fn(entries)
	})
}
