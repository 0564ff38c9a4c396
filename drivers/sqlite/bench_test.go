package sqlite

import (
	"context"
	"io"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/drivers/drivertest"
	"github.com/stele-db/stele/logstructured/log"
)

// quiet logs nowhere.
func quiet() *logrus.Entry {
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	return logrus.NewEntry(logger)
}

// fill appends n entries, rows at a time.
func fill(tb testing.TB, l *Log, n, rows int) log.Head {
	tb.Helper()
	end, err := l.End(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	head := end.Head
	entries := drivertest.BenchEntries(rows)
	for done := 0; done < n; done += rows {
		id := log.AppendID(rand.Int64N(1<<62) + 1)
		if err := l.Append(context.Background(), head, id, entries); err != nil {
			tb.Fatal(err)
		}
		head = log.Head{Position: head.Position + log.Position(rows), ID: id}
	}
	return head
}

var bench = drivertest.Benchmark{
	New: func(b *testing.B) log.Log {
		l, err := Open(context.Background(), filepath.Join(b.TempDir(), "state.db"), Options{Logger: quiet()})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			if err := l.Close(); err != nil {
				b.Error(err)
			}
		})
		return l
	},
	Usage: func(b *testing.B) map[string]float64 {
		var r syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
			b.Fatal(err)
		}
		return map[string]float64{"cpu-us": float64(r.Utime.Nano()+r.Stime.Nano()) / 1000,
			"disk-B": float64(r.Oublock * 512)}
	},
}

func BenchmarkAppend(b *testing.B) { bench.Append(b) }
func BenchmarkRead(b *testing.B)   { bench.Read(b) }
