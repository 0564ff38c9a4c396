package faults

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/drivers/drivertest/proxy"
	"github.com/stele-db/stele/test/internal/stele"
)

const replicas = 3

// progressInterval makes periodic progress notifications frequent enough to occur between two faults.
const progressInterval = 200 * time.Millisecond

// cluster is a group of replicas of one database. It is a crash.Victim.
type cluster struct {
	db      *database.Server
	name    string
	servers []*stele.Server
	// proxies[i][n] connects replica i to node n+1 of the database.
	proxies [][]*proxy.Proxy
}

// process is the binary and environment of one replica.
type process struct {
	binary string
	env    []string
}

// newCluster starts replicas on an empty database of db, one for each of processes.
func newCluster(t *testing.T, db *database.Server, processes [replicas]process) *cluster {
	t.Helper()
	c := &cluster{db: db, name: db.Database(t)}
	for i, p := range processes {
		var proxies []*proxy.Proxy
		for node := 1; node <= db.Nodes(); node++ {
			proxies = append(proxies, proxy.Start(t, db.Address(node)))
		}
		c.proxies = append(c.proxies, proxies)
		c.servers = append(c.servers, c.replica(t, fmt.Sprint("replica", i), c.dsn(t, i), p))
		if err := c.Launch(i); err != nil {
			t.Fatal(err)
		}
		if err := c.WaitReady(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c *cluster) replica(t *testing.T, name, dsn string, p process) *stele.Server {
	t.Helper()
	return stele.New(t, stele.Options{
		Endpoint: dsn,
		Binary:   p.binary,
		Env:      p.env,
		Args: []string{
			"--name", name,
			"--watch-progress-notify-interval", progressInterval.String(),
			// Rows are deleted during the run, but not those that a replica that is cut off has yet to read.
			"--compact-retention", "1s",
		},
	})
}

// dsn returns the address of a replica's proxies. On Galera each replica prefers another node.
func (c *cluster) dsn(t *testing.T, replica int) string {
	t.Helper()
	dsn := c.db.In(c.db.Env(t, "DSN"), c.name)
	if c.db.Kind != database.Galera {
		for node := range c.proxies[replica] {
			dsn = strings.Replace(dsn, c.db.Address(node+1), c.proxies[replica][node].Address(), 1)
		}
		return dsn
	}
	var addresses []string
	for n := range c.proxies[replica] {
		addresses = append(addresses, c.proxies[replica][(replica+n)%len(c.proxies[replica])].Address())
	}
	return strings.Replace(dsn, c.db.Address(1), strings.Join(addresses, ","), 1)
}

// hold stops all traffic between a replica and the database, in both directions, until heal delivers it.
func (c *cluster) hold(replica int) {
	for _, p := range c.proxies[replica] {
		p.Set(proxy.ToServer, proxy.Hold)
		p.Set(proxy.ToClient, proxy.Hold)
	}
}

// refuse resets all connections of a replica to the given nodes (from 0), and refuses new ones, until heal.
func (c *cluster) refuse(replica int, nodes ...int) {
	for _, node := range nodes {
		c.proxies[replica][node].Refuse(true)
		c.proxies[replica][node].Cut(proxy.Reset)
	}
}

func (c *cluster) heal(replica int) {
	for _, p := range c.proxies[replica] {
		p.Refuse(false)
		p.Set(proxy.ToServer, proxy.Forward)
		p.Set(proxy.ToClient, proxy.Forward)
	}
}

func (c *cluster) ExpiresOnTime() bool { return true }

func (c *cluster) Targets() []string {
	var targets []string
	for _, s := range c.servers {
		targets = append(targets, s.Target)
	}
	return targets
}

func (c *cluster) Kill(i int) error   { return c.servers[i].Kill() }
func (c *cluster) Launch(i int) error { return c.servers[i].Exec() }

func (c *cluster) WaitReady(ctx context.Context, i int) error {
	return c.servers[i].WaitReady(ctx)
}
