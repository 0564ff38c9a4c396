package sqlite

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/logstructured"
)

// quiet logs nowhere.
func quiet() *logrus.Entry {
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	return logrus.NewEntry(logger)
}

func openBench(b *testing.B) *Log {
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
}

// benchEntries are puts of a 60 byte key and a 1 KiB value.
func benchEntries(rows int) []logstructured.Entry {
	entries := make([]logstructured.Entry, rows)
	for i := range entries {
		key := make([]byte, 60)
		binary.BigEndian.PutUint32(key, rand.Uint32())
		value := make([]byte, 1024)
		binary.BigEndian.PutUint64(value, rand.Uint64())
		entries[i] = logstructured.Entry{Kind: logstructured.KindPut, Revision: 1 << 20, Key: key, Value: value, CreateRevision: 1 << 20, Version: 1}
	}
	return entries
}

// fill appends n entries, rows at a time.
func fill(tb testing.TB, l *Log, n, rows int) logstructured.Head {
	tb.Helper()
	end, err := l.End(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	head := end.Head
	entries := benchEntries(rows)
	for done := 0; done < n; done += rows {
		id := logstructured.AppendID(rand.Int64N(1<<62) + 1)
		if err := l.Append(context.Background(), head, id, entries); err != nil {
			tb.Fatal(err)
		}
		head = logstructured.Head{Position: head.Position + logstructured.Position(rows), ID: id}
	}
	return head
}

// usage is the CPU time and the bytes sent to disks of this process so far: they mean something on a busy machine too.
func usage(b *testing.B) (cpu time.Duration, written int64) {
	b.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano()), r.Oublock * 512
}

// BenchmarkAppend measures one appender; rows/s and the latencies of single appends say whether checkpoints get in the way.
func BenchmarkAppend(b *testing.B) {
	for _, rows := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			l := openBench(b)
			entries := benchEntries(rows)
			latencies := make([]time.Duration, 0, 1<<20)
			var head logstructured.Head
			b.ReportAllocs()
			cpu, written := usage(b)
			for b.Loop() {
				id := logstructured.AppendID(rand.Int64N(1<<62) + 1)
				start := time.Now()
				if err := l.Append(context.Background(), head, id, entries); err != nil {
					b.Fatal(err)
				}
				latencies = append(latencies, time.Since(start))
				head = logstructured.Head{Position: head.Position + logstructured.Position(rows), ID: id}
			}
			b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
			cpuAfter, writtenAfter := usage(b)
			b.ReportMetric(float64((cpuAfter-cpu).Nanoseconds())/1000/float64(rows*b.N), "cpu-us/row")
			b.ReportMetric(float64(writtenAfter-written)/float64(rows*b.N), "disk-B/row")
			slices.Sort(latencies)
			b.ReportMetric(float64(latencies[len(latencies)/2].Microseconds()), "p50-us")
			b.ReportMetric(float64(latencies[len(latencies)*99/100].Microseconds()), "p99-us")
			b.ReportMetric(float64(latencies[len(latencies)*999/1000].Microseconds()), "p99.9-us")
		})
	}
}

// BenchmarkRead measures the reads over a log of 200,000 entries.
func BenchmarkRead(b *testing.B) {
	l := openBench(b)
	const n = 200_000
	fill(b, l, n, 500)
	ctx := context.Background()
	b.Run("end", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := l.End(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("scan", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := l.Scan(ctx, 0, func([]logstructured.Entry) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/row")
	})
	b.Run("values=500", func(b *testing.B) {
		positions := make([]logstructured.Position, 500)
		for b.Loop() {
			for i := range positions {
				positions[i] = logstructured.Position(rand.Int64N(n) + 1)
			}
			if _, err := l.Values(ctx, positions); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("read=500", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := l.Read(ctx, logstructured.Position(rand.Int64N(n-500)), 500); err != nil {
				b.Fatal(err)
			}
		}
	})
}
