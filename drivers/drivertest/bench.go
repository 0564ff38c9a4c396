package drivertest

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// Benchmark measures a driver. Metrics other than the time are per unit: a row for appends and scans, and a call for
// everything else.
type Benchmark struct {
	// New opens a log on a fresh, empty database that lives as long as b.
	New func(b *testing.B) log.Log
	// Usage returns the resources used so far, by name and unit of the metric. CPU time and bytes written are
	// meaningful even on a busy machine.
	Usage func(b *testing.B) map[string]float64
}

// BenchEntries returns puts with a 60-byte key and a 1 KiB value.
func BenchEntries(rows int) []log.Entry {
	entries := make([]log.Entry, rows)
	for i := range entries {
		key := make([]byte, 60)
		binary.BigEndian.PutUint32(key, rand.Uint32())
		value := make([]byte, 1024)
		binary.BigEndian.PutUint64(value, rand.Uint64())
		entries[i] = log.Entry{Kind: log.KindPut, Revision: 1 << 20, Key: key, Value: value, CreateRevision: 1 << 20,
			Version: 1}
	}
	return entries
}

// Append measures a single appender.
func (m Benchmark) Append(b *testing.B) {
	for _, rows := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			l := m.New(b)
			entries := BenchEntries(rows)
			var head log.Head
			m.measure(b, func() int {
				head = mustAppend(b, l, head, entries)
				return rows
			})
		})
	}
	// Sizes vary as under a varying load; each may need a statement of its own.
	b.Run("rows=1-128", func(b *testing.B) {
		l := m.New(b)
		entries := BenchEntries(128)
		var head log.Head
		m.measure(b, func() int {
			rows := 1 + rand.IntN(len(entries))
			head = mustAppend(b, l, head, entries[:rows])
			return rows
		})
	})
}

// Read measures the reads of a log of 200,000 entries.
func (m Benchmark) Read(b *testing.B) {
	const n = 200_000
	l := m.New(b)
	ctx := context.Background()
	var head log.Head
	for entries := BenchEntries(500); head.Position < n; {
		head = mustAppend(b, l, head, entries)
	}
	b.Run("end", func(b *testing.B) {
		m.measure(b, func() int {
			if _, err := l.End(ctx); err != nil {
				b.Fatal(err)
			}
			return 1
		})
	})
	for _, rows := range []int{0, 1, 64, 500} {
		b.Run(fmt.Sprintf("read=%d", rows), func(b *testing.B) {
			m.measure(b, func() int {
				after := head.Position
				if rows > 0 {
					after = rand.N[log.Position](n - 500)
				}
				if entries, _, err := l.Read(ctx, after, max(rows, 1)); err != nil || len(entries) != rows {
					b.Fatal(len(entries), err)
				}
				return 1
			})
		})
	}
	b.Run("values=500", func(b *testing.B) {
		positions := make([]log.Position, 500)
		m.measure(b, func() int {
			for i := range positions {
				positions[i] = 1 + rand.N[log.Position](n)
			}
			if _, err := l.Values(ctx, positions); err != nil {
				b.Fatal(err)
			}
			return 1
		})
	})
	b.Run("scan", func(b *testing.B) {
		m.measure(b, func() int {
			if _, err := l.Scan(ctx, 0, func([]log.Entry) error { return nil }); err != nil {
				b.Fatal(err)
			}
			return n
		})
	})
}

// measure runs f b.N times. f returns its number of units.
func (m Benchmark) measure(b *testing.B, f func() int) {
	b.Helper()
	latencies := make([]time.Duration, 0, 1<<16)
	units := 0
	b.ReportAllocs()
	before := m.Usage(b)
	for b.Loop() {
		start := time.Now()
		units += f()
		latencies = append(latencies, time.Since(start))
	}
	for name, after := range m.Usage(b) {
		b.ReportMetric((after-before[name])/float64(units), name)
	}
	b.ReportMetric(float64(units)/b.Elapsed().Seconds(), "units/s")
	slices.Sort(latencies)
	for name, share := range map[string]float64{"p50-us": 0.5, "p99-us": 0.99, "p99.9-us": 0.999} {
		b.ReportMetric(float64(latencies[int(float64(len(latencies)-1)*share)].Microseconds()), name)
	}
}
