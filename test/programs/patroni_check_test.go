package programs

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/stele-db/stele/test/internal/target"
)

// checkOperation lists the members, switches the leader over and edits the configuration by patronictl.
func (c *patroniCluster) checkOperation(leader *patroniNode) {
	c.checkList(leader)
	c.write(leader)
	next := c.switchover(leader)
	c.write(next)
	c.ctl("edit-config", "--force", "--set", "maximum_lag_on_failover=2000000", "--pg", "work_mem=5MB")
	if config := c.ctl("show-config"); !strings.Contains(config, "maximum_lag_on_failover: 2000000\n") {
		c.t.Errorf("the configuration after edit-config is\n%s", config)
	}
	for _, node := range c.nodes {
		c.await(time.Minute, func() error {
			if got, err := node.query("SHOW work_mem"); err != nil || got != "5MB" {
				return fmt.Errorf("work_mem of %v is %s (%w), want 5MB", node, got, err)
			}
			return nil
		})
	}
	c.awaitRows(time.Minute)
}

// checkList waits until patronictl and the REST API report leader as the leader, and all other nodes as its
// replicas.
func (c *patroniCluster) checkList(leader *patroniNode) {
	c.t.Helper()
	c.await(time.Minute, func() error {
		list := c.list()
		for _, node := range c.nodes {
			role, primary, replica := "Replica", http.StatusServiceUnavailable, http.StatusOK
			if node == leader {
				role, primary, replica = "Leader", http.StatusOK, http.StatusServiceUnavailable
			}
			member := list[node.Name]
			if member.Role != role || member.State != "running" || member.Timeline != list[leader.Name].Timeline {
				return fmt.Errorf("patronictl lists %v as %+v, want role %s, and the leader as %+v",
					node, member, role, list[leader.Name])
			}
			for path, want := range map[string]int{"/primary": primary, "/replica": replica, "/health": http.StatusOK} {
				if got := node.health(path); got != want {
					return fmt.Errorf("%s of %v is %d, want %d", path, node, got, want)
				}
			}
		}
		return nil
	})
}

// switchover makes another node the leader, by patronictl, and returns it.
func (c *patroniCluster) switchover(leader *patroniNode) *patroniNode {
	next := c.nodes[0]
	if next == leader {
		next = c.nodes[1]
	}
	c.ctl("switchover", "--force", "--leader", leader.Name, "--candidate", next.Name)
	if got := c.awaitLeader(time.Minute, leader); got != next {
		c.t.Errorf("switchover to %v made %v the leader", next, got)
	}
	c.awaitStreaming(time.Minute)
	c.checkList(next)
	return next
}

// checkFailover kills the leader, waits until another node takes over, and starts the killed node again.
func (c *patroniCluster) checkFailover(*target.Target) {
	leader := c.awaitLeader(time.Minute)
	c.write(leader)
	c.awaitRows(time.Minute)
	leader.kill()
	begun := time.Now()
	next := c.awaitLeader(c.failover(), leader)
	c.t.Logf("%v took over from %v after %v", next, leader, time.Since(begun).Round(time.Second/10))
	c.write(next)
	leader.start()
	c.awaitStreaming(time.Minute)
	c.awaitRows(time.Minute)
	c.checkList(next)
}

// failover returns how long a failover may take: until the killed leader's lease ends, and until Patroni's next
// round.
func (c *patroniCluster) failover() time.Duration {
	return time.Duration(c.TTL+c.LoopWait)*time.Second + patroniSlack
}

// checkRestart kills the server and restarts it immediately. The leader must keep its role.
func (c *patroniCluster) checkRestart(server *target.Target) {
	leader := c.awaitLeader(time.Minute)
	keepsRole := c.keepsRole(leader)
	if err := server.Restart(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	restarted := time.Now()
	c.hold(c.failover(), keepsRole)
	c.awaitSeen(restarted)
	c.checkList(leader)
	c.awaitStreaming(time.Minute)
}

// checkOutage kills the server for longer than a lease lasts. The leader must demote itself until the server is
// back.
func (c *patroniCluster) checkOutage(server *target.Target) {
	leader := c.awaitLeader(time.Minute)
	c.write(leader)
	if err := server.Process.Kill(); err != nil {
		c.t.Fatal(err)
	}
	begun := time.Now()
	c.await(c.failover(), func() error {
		if writable, err := leader.writable(); err != nil || writable {
			return fmt.Errorf("%v is writable: %t (%w), want false", leader, writable, err)
		}
		return nil
	})
	c.t.Logf("%v demoted itself after %v", leader, time.Since(begun).Round(time.Second/10))
	c.hold(patroniOutage-time.Since(begun), c.noLeader)
	if err := server.Process.Launch(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	begun = time.Now()
	next := c.awaitLeader(c.failover())
	c.t.Logf("%v is the leader %v after the server is back", next, time.Since(begun).Round(time.Second/10))
	c.write(next)
	c.awaitStreaming(time.Minute)
	c.awaitRows(time.Minute)
	c.checkList(next)
}

// checkFailsafe does the same in Patroni's failsafe mode. The leader reaches all nodes, so it must keep its role.
func (c *patroniCluster) checkFailsafe(server *target.Target) {
	leader := c.awaitLeader(time.Minute)
	c.ctl("edit-config", "--force", "--set", "failsafe_mode=true")
	for _, node := range c.nodes {
		c.await(time.Minute, func() error {
			if got := node.health("/failsafe"); got != http.StatusOK {
				return fmt.Errorf("/failsafe of %v is %d, want 200", node, got)
			}
			return nil
		})
	}
	keepsRole := c.keepsRole(leader)
	if err := server.Process.Kill(); err != nil {
		c.t.Fatal(err)
	}
	c.hold(patroniOutage, keepsRole)
	if err := server.Process.Launch(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	c.awaitSeen(time.Now())
	c.hold(c.failover(), keepsRole)
	c.checkList(leader)
	c.awaitStreaming(time.Minute)
	c.awaitRows(time.Minute)
}

// checkSynchronous enables synchronous replication. Patroni stores the synchronous standby in a key of its own.
func (c *patroniCluster) checkSynchronous(*target.Target) {
	leader := c.awaitLeader(time.Minute)
	c.ctl("edit-config", "--force", "--set", "synchronous_mode=true")
	c.await(time.Minute, func() error {
		list, standbys := c.list(), 0
		for _, member := range list {
			if member.Role == "Sync Standby" {
				standbys++
			}
		}
		if standbys != 1 {
			return fmt.Errorf("%d members are synchronous standbys, want 1: %+v", standbys, list)
		}
		return nil
	})
	c.write(leader)
	c.awaitRows(time.Minute)
}

// keepsRole returns a function that writes a row on the leader, and fails if its PostgreSQL was restarted, demoted
// or promoted.
func (c *patroniCluster) keepsRole(leader *patroniNode) func() error {
	c.t.Helper()
	before, err := leader.status()
	if err != nil {
		c.t.Fatal(err)
	}
	return func() error {
		now, err := leader.status()
		if err != nil {
			return err
		}
		if now.PostmasterStartTime != before.PostmasterStartTime || now.Timeline != before.Timeline ||
			now.Role != before.Role {
			return fmt.Errorf("the leader %v was %+v and is %+v", leader, before, now)
		}
		c.write(leader)
		return nil
	}
}

// awaitSeen waits until the server has answered every node since then.
func (c *patroniCluster) awaitSeen(since time.Time) {
	c.t.Helper()
	for _, node := range c.nodes {
		c.await(time.Minute, func() error {
			status, err := node.status()
			if err != nil || status.LastSeen <= since.Unix() {
				return fmt.Errorf("the server last answered %v at %d (%w), want after %d",
					node, status.LastSeen, err, since.Unix())
			}
			return nil
		})
	}
}
