package mysql

import (
	"context"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stele-db/stele/drivers/drivertest"
	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/logstructured/log"
)

// mustAppend appends and returns the new head.
func mustAppend(tb testing.TB, l *Log, head log.Head, entries []log.Entry) log.Head {
	tb.Helper()
	id := log.AppendID(rand.Int64N(1<<62) + 1)
	if err := l.Append(context.Background(), head, id, entries); err != nil {
		tb.Fatal(err)
	}
	return log.Head{Position: head.Position + log.Position(len(entries)), ID: id}
}

// benchServer is the kind of server that benchmarks use, from STELE_TEST_BENCH_DATABASE: mariadb (default) or galera.
func benchServer(b *testing.B) *database.Server {
	kind := os.Getenv("STELE_TEST_BENCH_DATABASE")
	if kind == "" {
		kind = database.MariaDB
	}
	return database.Shared(b, kind)
}

var bench = drivertest.Benchmark{
	New: func(b *testing.B) log.Log {
		l := openLog(b, benchServer(b).DSN(b))
		b.Cleanup(func() {
			if err := l.Close(); err != nil {
				b.Error(err)
			}
		})
		return l
	},
	Usage: func(b *testing.B) map[string]float64 { return benchServer(b).Usage(b) },
}

func BenchmarkAppend(b *testing.B) { bench.Append(b) }
func BenchmarkRead(b *testing.B)   { bench.Read(b) }
