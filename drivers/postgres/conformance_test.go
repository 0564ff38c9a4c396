package postgres

import (
	"context"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/drivers/drivertest"
	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/drivers/drivertest/proxy"
	"github.com/stele-db/stele/drivers/internal/driver"
	"github.com/stele-db/stele/logstructured/log"
)

// quiet logs nowhere.
func quiet() *logrus.Entry {
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	return logrus.NewEntry(logger)
}

// opening returns a function that opens logs of one database. The suite closes them.
func opening(dsn string) func(testing.TB) log.Log {
	return func(t testing.TB) log.Log {
		t.Helper()
		l, err := Open(context.Background(), dsn, driver.Options{Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
}

// conform runs the suite on a kind of server. node is the server to which clients connect.
func conform(t *testing.T, kind string, node int) {
	t.Parallel()
	s := database.Shared(t, kind)
	drivertest.Run(t, drivertest.Harness{
		New: func(t testing.TB) func(testing.TB) log.Log { return opening(s.DSN(t)) },
		Damage: func(t testing.TB) (func(testing.TB) log.Log, drivertest.Damager) {
			dsn := s.DSN(t)
			return opening(dsn), drivertest.BySQL(func(t testing.TB, statement string) {
				execute(t, s, databaseOf(t, dsn), statement)
			})
		},
		Through: func(t testing.TB) (through, direct func(testing.TB) log.Log, p *proxy.Proxy) {
			p = proxy.Start(t, s.Address(node))
			dsn := s.DSN(t)
			return opening(throughProxy(t, dsn, s.Address(node), p)), opening(dsn), p
		},
		Registers: true,
		Notifies:  kind != database.PgBouncer,
	})
}

// throughProxy replaces a server in a DSN by the proxy.
func throughProxy(t testing.TB, dsn, address string, p *proxy.Proxy) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	host, proxyPort, err := net.SplitHostPort(p.Address())
	if err != nil {
		t.Fatal(err)
	}
	before, after, found := strings.Cut(dsn, ":"+port)
	if !found || host != "127.0.0.1" {
		t.Fatalf("%s is not in the DSN, or the proxy not on its host", address)
	}
	return before + ":" + proxyPort + after
}

func TestConformance(t *testing.T) { conform(t, kind(), 1) }

// TestConformanceThroughPgBouncer runs the suite through a pooler in transaction mode, which the driver has to detect.
// It takes a minute, so the default run has TestPoolerIsDetected instead.
func TestConformanceThroughPgBouncer(t *testing.T) {
	if os.Getenv("STELE_TEST_PGBOUNCER") == "" {
		t.Skip("set STELE_TEST_PGBOUNCER=1 to run the whole suite through PgBouncer")
	}
	conform(t, database.PgBouncer, 2)
}
