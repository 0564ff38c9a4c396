package programs

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/test/internal/stele"
	"github.com/stele-db/stele/test/internal/target"
)

// TestPatroni bootstraps a cluster of two nodes, switches the leader over and edits the configuration.
func TestPatroni(t *testing.T) {
	if selection() == "all" {
		t.Skip("TestPatroniFailures begins with the same steps")
	}
	c := newPatroni(t, 2, target.Stele(t, "--lease-mode="+modeEtcd).Address)
	c.checkOperation(c.bootstrap())
}

// TestPatroniFailures kills the leader of three nodes, and the server that stores the cluster's state.
func TestPatroniFailures(t *testing.T) {
	long(t)
	t.Parallel()
	onEach(t, []string{modeEtcd}, func(t *testing.T, server *target.Target) {
		c := newPatroni(t, 3, server.Address)
		c.checkOperation(c.bootstrap())
		for _, step := range []struct {
			name  string
			check func(*patroniCluster, *target.Target)
		}{
			{"failover", (*patroniCluster).checkFailover},
			{"restart", (*patroniCluster).checkRestart},
			{"outage", (*patroniCluster).checkOutage},
			{"outage in failsafe mode", (*patroniCluster).checkFailsafe},
			{"synchronous replication", (*patroniCluster).checkSynchronous},
		} {
			if !t.Run(step.name, func(t *testing.T) {
				c.t = t
				step.check(c, server)
			}) {
				break
			}
		}
	})
}

// TestPatroniReplicas kills each of three replicas of Stele in turn. The leader must keep its role.
func TestPatroniReplicas(t *testing.T) {
	long(t)
	t.Parallel()
	dsn := database.Shared(t, database.Postgres).DSN(t)
	var addresses []string
	var servers []*stele.Server
	for range 3 {
		server := stele.Start(t, stele.Options{Endpoint: dsn, Args: []string{"--lease-mode=" + modeEtcd}})
		servers, addresses = append(servers, server), append(addresses, server.Target)
	}
	c := newPatroni(t, 2, addresses...)
	leader := c.bootstrap()
	keepsRole := c.keepsRole(leader)
	for _, server := range servers {
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		killed := time.Now()
		c.hold(patroniLoopWait*5*time.Second, keepsRole)
		c.awaitSeen(killed)
		c.checkList(leader)
		if err := server.Launch(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := keepsRole(); err != nil {
		t.Error(err)
	}
	c.awaitRows(time.Minute)
}

// TestPatroniLeaseModeTTL shows how Patroni fails without --lease-mode=etcd. Stele refuses its keep-alives, so no
// node remains the leader, and Patroni's log names the flag.
func TestPatroniLeaseModeTTL(t *testing.T) {
	long(t)
	t.Parallel()
	c := newPatroni(t, 1, target.Stele(t, "--lease-mode="+modeTTL).Address)
	node := c.nodes[0]
	node.start()
	c.await(patroniBootstrap, func() error {
		if !strings.Contains(node.log(), "--lease-mode=etcd") {
			return errors.New("Patroni's log does not name the mode that it needs")
		}
		if _, err := node.writable(); err != nil {
			return fmt.Errorf("PostgreSQL was not bootstrapped: %w", err)
		}
		return c.noLeader()
	})
	c.hold(patroniTTL*time.Second, c.noLeader)
}

// TestPatroniAuth enables authentication. Patroni's tokens end during an outage, so Patroni must authenticate again.
func TestPatroniAuth(t *testing.T) {
	long(t)
	t.Parallel()
	tokens := fmt.Sprintf("--auth-token-ttl=%d", patroniTTL)
	t.Run("etcd", func(t *testing.T) {
		checkAuth(t, target.Reference(t, tokens), func(*patroniCluster) {})
	})
	t.Run("stele", func(t *testing.T) {
		server := target.Stele(t, "--lease-mode="+modeEtcd, tokens)
		// Stele's tokens survive a restart. Those of etcd do not, and the leader may demote itself at the next
		// keep-alive.
		checkAuth(t, server, func(c *patroniCluster) { c.checkRestart(server) })
	})
}

// checkAuth runs a cluster that authenticates. It calls then before the outage.
func checkAuth(t *testing.T, server *target.Target, then func(*patroniCluster)) {
	t.Helper()
	enableAuth(t, server)
	c := newPatroni(t, 2, server.Address)
	c.User, c.Password = "patroni", "patroni's"
	c.switchover(c.bootstrap())
	then(c)
	c.checkOutage(server)
	for _, node := range c.nodes {
		if !strings.Contains(node.log(), "Invalid auth token") {
			t.Errorf("%v sent no token that had ended", node)
		}
	}
}

// enableAuth creates the users root and patroni, and enables authentication. Patroni's user may use the keys below
// /service/.
func enableAuth(t *testing.T, server *target.Target) {
	t.Helper()
	client, ctx := server.Client(t), t.Context()
	run := func(_ any, err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	run(client.UserAdd(ctx, "root", "root's"))
	run(client.UserGrantRole(ctx, "root", "root"))
	run(client.RoleAdd(ctx, "patroni"))
	run(client.RoleGrantPermission(ctx, "patroni", "/service/", clientv3.GetPrefixRangeEnd("/service/"),
		clientv3.PermissionType(clientv3.PermReadWrite)))
	run(client.UserAdd(ctx, "patroni", "patroni's"))
	run(client.UserGrantRole(ctx, "patroni", "patroni"))
	run(client.AuthEnable(ctx))
}
