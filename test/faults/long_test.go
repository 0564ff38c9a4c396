//go:build faults

package faults

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/drivers/drivertest/proxy"
	"github.com/stele-db/stele/test/crash"
	"github.com/stele-db/stele/test/internal/stele"
)

// everything is true if the other faults and databases are tested too.
const everything = true

// TestReplicaStopped stops a replica by SIGSTOP at any moment and continues it. The other replicas do not wait for it,
// and it catches up.
func TestReplicaStopped(t *testing.T) {
	on(t, both(), func(t *testing.T, db *database.Server) {
		c := newCluster(t, db, [replicas]process{})
		f := fault{faults: 1, min: 500 * time.Millisecond, max: 2 * time.Second, unavailable: 5 * time.Second}
		lasts := faultDuration(t, 5*time.Second, 60*time.Second)
		f.disturb = func(ctx context.Context, r *crash.Running) error {
			for n := 0; !r.Enough(); n++ {
				if err := r.Between(ctx); err != nil {
					return err
				}
				i := n % replicas
				if err := r.Impair(i, func() error { return c.stop(ctx, t, r, i, lasts) }); err != nil {
					return err
				}
				if err := r.Cut(ctx, i); err != nil {
					return err
				}
			}
			return nil
		}
		f.run(t, c)
	})
}

func (c *cluster) stop(ctx context.Context, t *testing.T, r *crash.Running, i int, lasts time.Duration) error {
	if err := c.servers[i].Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	r.CountFault()
	err := r.Work(ctx, lasts, (i+1)%replicas)
	if goOn := c.servers[i].Signal(syscall.SIGCONT); goOn != nil || err != nil {
		return fmt.Errorf("%w, %w", err, goOn)
	}
	took, err := back(ctx, r, i, 15*time.Second)
	t.Logf("replica %d was stopped for %v and back after %v", i, lasts, took.Round(time.Millisecond))
	return err
}

// TestConnectionsReset repeatedly resets the connections of one or all replicas to the database.
func TestConnectionsReset(t *testing.T) {
	on(t, both(), func(t *testing.T, db *database.Server) {
		c := newCluster(t, db, [replicas]process{})
		f := fault{faults: 20, min: 20 * time.Millisecond, max: 400 * time.Millisecond, unavailable: 5 * time.Second}
		f.disturb = func(ctx context.Context, r *crash.Running) error {
			for n := 1; !r.Enough(); n++ {
				if err := r.Between(ctx); err != nil {
					return err
				}
				for i, proxies := range c.proxies {
					if n%2 == 0 || i == n/2%replicas {
						proxies[0].Cut(proxy.Reset)
					}
				}
				r.CountFault()
				if n%10 == 0 {
					if err := r.Cut(ctx, n%replicas); err != nil {
						return err
					}
				}
			}
			return nil
		}
		f.run(t, c)
	})
}

// TestClocksApart runs two replicas with clocks an hour slow and fast while replicas are killed: keys expire in time.
func TestClocksApart(t *testing.T) {
	binary := stele.Shifted(t)
	on(t, both(), func(t *testing.T, db *database.Server) {
		c := newCluster(t, db, [replicas]process{
			{binary, []string{stele.Clock + "=-1h"}}, {}, {binary, []string{stele.Clock + "=1h"}},
		})
		for i, shift := range []time.Duration{-time.Hour, 0, time.Hour} {
			hour := time.Now().Add(shift).UTC().Format("2006-01-02T15:")
			if !strings.Contains(c.servers[i].Logs(), hour) {
				t.Errorf("replica %d did not log in the hour %s:\n%s", i, hour, c.servers[i].Logs())
			}
		}
		fault{faults: 3, min: time.Second, max: 4 * time.Second, breaksWatches: true}.run(t, c)
	})
}

// TestPrimaryKilled kills a primary and promotes its synchronous standby.
func TestPrimaryKilled(t *testing.T) {
	db := database.Start(t, database.PostgresSync)
	c := newCluster(t, db, [replicas]process{})
	f := fault{faults: 1, min: time.Second, max: 4 * time.Second, slack: 30 * time.Second}
	f.disturb = func(ctx context.Context, r *crash.Running) error {
		if err := r.Between(ctx); err != nil {
			return err
		}
		db.Kill(t, 1)
		r.CountFault()
		from := r.Now()
		db.Promote(t)
		if err := allBack(ctx, r, 30*time.Second); err != nil {
			return err
		}
		t.Logf("all replicas were back %v after the primary was killed", (r.Now() - from).Round(time.Millisecond))
		return rest(ctx, t, r)
	}
	f.run(t, c)
}

// rest lets the clients work until the plan is fulfilled.
func rest(ctx context.Context, t *testing.T, r *crash.Running) error {
	for !r.Enough() {
		if err := r.Work(ctx, faultDuration(t, time.Second, 3*time.Second), 0); err != nil {
			return err
		}
	}
	return r.Cut(ctx, 0)
}

// TestPrimaryCutOff promotes the synchronous standby while the primary is alive and one replica reaches only the
// primary. That replica must acknowledge no write, and show no event of one.
func TestPrimaryCutOff(t *testing.T) {
	db := database.Start(t, database.PostgresSync)
	c := newCluster(t, db, [replicas]process{})
	f := fault{
		faults: 1, min: time.Second, max: 4 * time.Second, slack: 30 * time.Second, unavailable: 15 * time.Second,
	}
	lasts := faultDuration(t, 4*time.Second, 12*time.Second)
	const behind = 1
	f.disturb = func(ctx context.Context, r *crash.Running) error {
		if err := r.Between(ctx); err != nil {
			return err
		}
		r.CountFault()
		if err := r.Impair(behind, func() error { return c.twoPrimaries(ctx, t, r, behind, lasts) }); err != nil {
			return err
		}
		return rest(ctx, t, r)
	}
	f.run(t, c)
}

func (c *cluster) twoPrimaries(ctx context.Context, t *testing.T, r *crash.Running, behind int,
	lasts time.Duration) error {
	for i := range replicas {
		if i != behind {
			c.refuse(i, 0)
		}
	}
	c.refuse(behind, 1)
	c.db.Promote(t)
	from := r.Now()
	for i := range replicas {
		if i == behind {
			continue
		}
		took, err := back(ctx, r, i, 20*time.Second)
		if err != nil {
			return err
		}
		t.Logf("replica %d found the new primary after %v", i, took.Round(time.Millisecond))
	}
	if err := r.Cut(ctx, (behind+1)%replicas); err != nil {
		return err
	}
	for r.Now()-from < lasts {
		if err := cutOff(ctx, r, behind); err != nil {
			return fmt.Errorf("with the old primary: %w", err)
		}
		if err := r.Work(ctx, time.Second, (behind+1)%replicas); err != nil {
			return err
		}
	}
	c.heal(behind)
	c.refuse(behind, 0)
	took, err := back(ctx, r, behind, 20*time.Second)
	t.Logf("replica %d was connected to the old primary for %v and to the new one %v later", behind, lasts,
		took.Round(time.Millisecond))
	return err
}

// TestGaleraNodeKilled kills one node of the cluster after the other. Each replica prefers another node.
func TestGaleraNodeKilled(t *testing.T) {
	db := database.Start(t, database.Galera)
	c := newCluster(t, db, [replicas]process{})
	f := fault{faults: 1, min: time.Second, max: 4 * time.Second, slack: 30 * time.Second}
	f.disturb = func(ctx context.Context, r *crash.Running) error {
		for n := 0; !r.Enough(); n++ {
			if err := r.Between(ctx); err != nil {
				return err
			}
			db.Kill(t, n%replicas+1)
			r.CountFault()
			from := r.Now()
			if err := allBack(ctx, r, 30*time.Second); err != nil {
				return err
			}
			t.Logf("node %d was killed, all replicas were back after %v", n%replicas+1,
				(r.Now() - from).Round(time.Millisecond))
			if err := r.Work(ctx, 3*time.Second, 0); err != nil {
				return err
			}
			db.Restart(t, n%replicas+1)
			if err := allBack(ctx, r, 30*time.Second); err != nil {
				return err
			}
		}
		return nil
	}
	f.run(t, c)
}
