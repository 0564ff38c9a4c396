package mysql

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/logstructured"
)

// benchServer is the server that benchmarks use: STELE_BENCH_DATABASE is galera or mariadb, which is the default.
func benchServer(b *testing.B) *database.Server {
	kind := os.Getenv("STELE_BENCH_DATABASE")
	if kind == "" {
		kind = database.MariaDB
	}
	return database.Shared(b, kind)
}

func openBench(b *testing.B) (*Log, *database.Server) {
	s := benchServer(b)
	l := openLog(b, s.DSN(b))
	b.Cleanup(func() {
		if err := l.Close(); err != nil {
			b.Error(err)
		}
	})
	return l, s
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
		head = mustAppend(tb, l, head, entries)
	}
	return head
}

// mustAppend appends and returns the new head.
func mustAppend(tb testing.TB, l *Log, head logstructured.Head, entries []logstructured.Entry) logstructured.Head {
	tb.Helper()
	id := logstructured.AppendID(rand.Int64N(1<<62) + 1)
	if err := l.Append(context.Background(), head, id, entries); err != nil {
		tb.Fatal(err)
	}
	return logstructured.Head{Position: head.Position + logstructured.Position(len(entries)), ID: id}
}

// cpu is the CPU time of this process and of the first node so far.
func cpu(b *testing.B, s *database.Server) (client, server time.Duration) {
	b.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	stat, err := os.ReadFile("/proc/" + s.Env(b, "PID_1") + "/stat")
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	for _, field := range fields[11:13] { // user and system time in hundredths of a second
		n, err := strconv.Atoi(field)
		if err != nil {
			b.Fatal(err)
		}
		server += time.Duration(n) * 10 * time.Millisecond
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano()), server
}

// measure runs f b.N times and reports the CPU time of client and server, each divided by units a run, and the latencies.
func measure(b *testing.B, s *database.Server, units int, f func()) {
	b.Helper()
	latencies := make([]time.Duration, 0, 1<<16)
	b.ReportAllocs()
	client, server := cpu(b, s)
	for b.Loop() {
		start := time.Now()
		f()
		latencies = append(latencies, time.Since(start))
	}
	clientAfter, serverAfter := cpu(b, s)
	n := float64(units * b.N)
	b.ReportMetric(n/b.Elapsed().Seconds(), "units/s")
	b.ReportMetric(float64((clientAfter-client).Nanoseconds())/1000/n, "client-us")
	b.ReportMetric(float64((serverAfter-server).Nanoseconds())/1000/n, "server-us")
	slices.Sort(latencies)
	b.ReportMetric(float64(latencies[len(latencies)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(latencies[len(latencies)*99/100].Microseconds()), "p99-us")
}

// BenchmarkAppend measures one appender; a unit is a row.
func BenchmarkAppend(b *testing.B) {
	for _, rows := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			l, s := openBench(b)
			entries := benchEntries(rows)
			var head logstructured.Head
			measure(b, s, rows, func() { head = mustAppend(b, l, head, entries) })
		})
	}
	// Sizes as they come with a varying load: each has a statement of its own.
	b.Run("rows=1-128", func(b *testing.B) {
		l, s := openBench(b)
		entries := benchEntries(128)
		var head logstructured.Head
		n := 0
		measure(b, s, 1, func() {
			rows := 1 + rand.IntN(128)
			n += rows
			head = mustAppend(b, l, head, entries[:rows])
		})
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
	})
}

// BenchmarkRead measures reads of a log of 200,000 entries; a unit is a call, or an entry of a scan.
func BenchmarkRead(b *testing.B) {
	l, s := openBench(b)
	const n = 200_000
	head := fill(b, l, n, 500)
	ctx := context.Background()
	b.Run("end", func(b *testing.B) {
		measure(b, s, 1, func() {
			if _, err := l.End(ctx); err != nil {
				b.Fatal(err)
			}
		})
	})
	b.Run("nothing", func(b *testing.B) {
		measure(b, s, 1, func() {
			if entries, _, err := l.Read(ctx, head.Position, 1000); err != nil || len(entries) != 0 {
				b.Fatal(len(entries), err)
			}
		})
	})
	for _, rows := range []int{1, 64, 1000} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			measure(b, s, 1, func() {
				if entries, _, err := l.Read(ctx, rand.N[logstructured.Position](n-1000), rows); err != nil || len(entries) != rows {
					b.Fatal(len(entries), err)
				}
			})
		})
	}
	b.Run("values=500", func(b *testing.B) {
		positions := make([]logstructured.Position, 500)
		measure(b, s, 1, func() {
			for i := range positions {
				positions[i] = 1 + rand.N[logstructured.Position](n)
			}
			if _, err := l.Values(ctx, positions); err != nil {
				b.Fatal(err)
			}
		})
	})
	b.Run("scan", func(b *testing.B) {
		measure(b, s, n, func() {
			if _, err := l.Scan(ctx, 0, func([]logstructured.Entry) error { return nil }); err != nil {
				b.Fatal(err)
			}
		})
	})
}
