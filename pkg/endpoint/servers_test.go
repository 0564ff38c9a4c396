package endpoint

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/pkg/tls"
)

// Two datastores of a process on the same database server are two replicas.
func TestOnPostgreSQL(t *testing.T) {
	t.Parallel()
	db := database.Shared(t, database.Postgres)
	dsn := db.DSN(t)
	config := Config{
		Endpoint: dsn, Listener: "tcp://127.0.0.1:0", BackendTLSConfig: tls.Config{CAFile: db.Env(t, "CA")},
		ConnectionPoolConfig: ConnectionPoolConfig{MaxOpen: 4, MaxIdle: -1, MaxLifetime: time.Minute},
	}
	a, b := start(t, config), start(t, config)
	for _, s := range []*started{a, b} {
		if !s.LeaderElect {
			t.Error("does not say that others may use the same data")
		}
	}
	put(t, a.client(), "k", "from a")
	want(t, b.client(), "k", "from a")

	// A client of both keeps working when one of them stops.
	both := clientOf(t, ETCDConfig{Endpoints: append(a.Endpoints, b.Endpoints...)})
	put(t, both, "k", "from both")
	a.stop()
	for range 10 {
		put(t, both, "k", "from the other")
	}
	b.stop()
	want(t, start(t, config).client(), "k", "from the other")
}

func TestPasswordIsInNoError(t *testing.T) {
	t.Parallel()
	db := database.Shared(t, database.Postgres)
	u, err := url.Parse(db.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(u.User.Username(), "hunter2-wrong")
	var said output
	_, err = tryStart(t, Config{Endpoint: u.String(), Logger: logTo(&said)})
	if err == nil || strings.Contains(err.Error()+said.String(), "hunter2") {
		t.Errorf("%v; said %s", err, said.String())
	}
}

// The file is complete when the WaitGroup is done.
func TestEverythingAcknowledgedIsInTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	s := start(t, Config{Endpoint: "sqlite://" + path})
	acknowledged := make(chan int)
	go func() {
		c, n := s.client(), 0
		for ; ; n++ {
			if err := c.Create(s.t.Context(), "k/"+strings.Repeat("x", n), nil); err != nil {
				break
			}
			if n == 20 {
				s.cancel()
			}
		}
		acknowledged <- n
	}()
	n := <-acknowledged
	s.stopped()
	values, err := clientOf(t, start(t, Config{Endpoint: "sqlite://" + path}).ETCDConfig).List(within(t), "k/", 0)
	if err != nil || len(values) < n || n < 20 {
		t.Errorf("%d acknowledged, %d there, %v", n, len(values), err)
	}
}
