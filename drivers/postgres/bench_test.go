package postgres

import (
	"testing"

	"github.com/stele-db/stele/drivers/drivertest"
	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/logstructured/log"
)

var bench = drivertest.Benchmark{
	New: func(b *testing.B) log.Log {
		return mustOpen(b, database.Shared(b, database.Postgres).DSN(b))
	},
	Usage: func(b *testing.B) map[string]float64 { return database.Shared(b, database.Postgres).Usage(b) },
}

func BenchmarkAppend(b *testing.B) { bench.Append(b) }
func BenchmarkRead(b *testing.B)   { bench.Read(b) }
