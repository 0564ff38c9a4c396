package postgres

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/logstructured"
)

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

func appendBench(b *testing.B, l *Log, head logstructured.Head, entries []logstructured.Entry) logstructured.Head {
	id := logstructured.AppendID(rand.Int64N(1<<62) + 1)
	if err := l.Append(context.Background(), head, id, entries); err != nil {
		b.Fatal(err)
	}
	return logstructured.Head{Position: head.Position + logstructured.Position(len(entries)), ID: id}
}

// BenchmarkAppend measures one appender.
func BenchmarkAppend(b *testing.B) {
	for _, rows := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			l := mustOpen(b, database.Shared(b, database.Postgres).DSN(b))
			entries := benchEntries(rows)
			latencies := make([]time.Duration, 0, 1<<16)
			head := appendBench(b, l, logstructured.Head{}, entries)
			b.ReportAllocs()
			for b.Loop() {
				start := time.Now()
				head = appendBench(b, l, head, entries)
				latencies = append(latencies, time.Since(start))
			}
			b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
			slices.Sort(latencies)
			b.ReportMetric(float64(latencies[len(latencies)/2].Microseconds()), "p50-us")
			b.ReportMetric(float64(latencies[len(latencies)*99/100].Microseconds()), "p99-us")
		})
	}
}

// BenchmarkRead measures the reads over a log of 100,000 entries.
func BenchmarkRead(b *testing.B) {
	s := database.Shared(b, database.Postgres)
	dsn := s.DSN(b)
	l := mustOpen(b, dsn)
	const n = 100_000
	var head logstructured.Head
	for entries := benchEntries(500); head.Position < n; {
		head = appendBench(b, l, head, entries)
	}
	execute(b, s, databaseOf(b, dsn), "VACUUM ANALYZE stele_log")
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
	b.Run("read=1", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := l.Read(ctx, head.Position-1, 1000); err != nil {
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
