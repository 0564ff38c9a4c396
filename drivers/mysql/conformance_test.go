package mysql

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/stele-db/stele/drivers/drivertest"
	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/drivers/drivertest/proxy"
	"github.com/stele-db/stele/logstructured/log"
)

// opening returns a function that opens logs at dsn.
func opening(dsn string) func(testing.TB) log.Log {
	return func(t testing.TB) log.Log { return openLog(t, dsn) }
}

func through(kind string) func(testing.TB) (_, _ func(testing.TB) log.Log, _ *proxy.Proxy) {
	return func(t testing.TB) (_, _ func(testing.TB) log.Log, _ *proxy.Proxy) {
		through, direct, p := database.Shared(t, kind).Through(t)
		return opening(through), opening(direct), p
	}
}

// exceptions are the obligations that the server named by STELE_TEST_MYSQL cannot keep.
func exceptions() map[drivertest.Category]string {
	if kind() != database.TiDB {
		return nil
	}
	return map[drivertest.Category]string{
		drivertest.LargeEntry:    "TiDB's limit is 6 MiB unless it is configured",
		drivertest.Sized:         "TiDB estimates sizes from statistics that it gathers later",
		drivertest.SpaceReturned: "TiKV gives space back when it compacts, and nobody can ask it to",
	}
}

func TestConformance(t *testing.T) {
	drivertest.Run(t, drivertest.Harness{
		New: func(t testing.TB) func(testing.TB) log.Log {
			return opening(database.Shared(t, kind()).DSN(t))
		},
		Damage: func(t testing.TB) (func(testing.TB) log.Log, drivertest.Damager) {
			s := database.Shared(t, kind())
			name := s.Database(t)
			return opening(s.In(s.Env(t, "DSN_1"), name)), executing(s, name)
		},
		Through:    through(kind()),
		Registers:  true,
		Exceptions: exceptions(),
	})
}

// executing returns a function that runs statements in a database.
func executing(s *database.Server, name string) drivertest.Damager {
	return drivertest.BySQL(func(t testing.TB, statement string) {
		t.Helper()
		admin(t, s, "USE "+quoteName(name), "SET sql_mode = 'ANSI_QUOTES'", statement)
	})
}

// nodes returns a function that opens each log on another node of a Galera cluster.
func nodes(t testing.TB) func(testing.TB) log.Log {
	return nodesOf(database.Shared(t, database.Galera), database.Shared(t, database.Galera).Database(t))
}

func damageNodes(t testing.TB) (func(testing.TB) log.Log, drivertest.Damager) {
	s := database.Shared(t, database.Galera)
	name := s.Database(t)
	return nodesOf(s, name), executing(s, name)
}

func nodesOf(s *database.Server, name string) func(testing.TB) log.Log {
	var opened atomic.Int64 // at the same time, now and then
	return func(t testing.TB) log.Log {
		node := int(opened.Add(1))%s.Nodes() + 1
		return openLog(t, s.In(s.Env(t, fmt.Sprintf("DSN_%d", node)), name))
	}
}

// TestGaleraConformance runs the suite with each log on another node of a Galera cluster. It takes minutes, so the
// default run has TestGalera in its place.
func TestGaleraConformance(t *testing.T) {
	if os.Getenv("STELE_TEST_GALERA") == "" {
		t.Skip("set STELE_TEST_GALERA=1 to run the whole suite on Galera")
	}
	drivertest.Run(t, drivertest.Harness{New: nodes, Damage: damageNodes, Through: through(database.Galera),
		Registers: true})
}
