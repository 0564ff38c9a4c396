package faults

import (
	"context"
	"testing"
	"time"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/test/crash"
)

// TestReplicaKilled kills one replica after the other by SIGKILL.
func TestReplicaKilled(t *testing.T) {
	on(t, []string{database.Postgres, database.MariaDB}, func(t *testing.T, db *database.Server) {
		fault{faults: 3, min: 400 * time.Millisecond, max: 1400 * time.Millisecond, breaksWatches: true}.run(t,
			newCluster(t, db, [replicas]process{}))
	})
}

// TestReplicaCutOff stops all traffic between a replica and the database for a while, or refuses its connections. The
// replica keeps its watchers, answers serializable reads and refuses all other requests; the other replicas are not
// affected; and the replica recovers without a restart.
func TestReplicaCutOff(t *testing.T) {
	on(t, both(), func(t *testing.T, db *database.Server) {
		c := newCluster(t, db, [replicas]process{})
		f := fault{faults: 2, min: 500 * time.Millisecond, max: time.Second, unavailable: 5 * time.Second}
		f.disturb = func(ctx context.Context, r *crash.Running) error {
			for n := 0; !r.Enough(); n++ {
				if err := r.Between(ctx); err != nil {
					return err
				}
				if err := r.Impair(n%replicas,
					func() error { return c.cutOff(ctx, t, r, n%replicas, n%2 == 0) }); err != nil {
					return err
				}
			}
			return nil
		}
		f.run(t, c)
	})
}

// cutOff cuts a replica off, silently or by refusing connections, and waits until it has recovered.
func (c *cluster) cutOff(ctx context.Context, t *testing.T, r *crash.Running, i int, silently bool) error {
	lasts := faultDuration(t, 3*time.Second, 10*time.Second)
	r.CountFault()
	if silently {
		c.hold(i)
	} else {
		c.refuse(i, 0)
	}
	from := r.Now()
	if err := cutOff(ctx, r, i); err != nil {
		return err
	}
	if err := r.Work(ctx, lasts-(r.Now()-from), (i+1)%replicas); err != nil {
		return err
	}
	if err := cutOff(ctx, r, i); err != nil {
		return err
	}
	c.heal(i)
	took, err := back(ctx, r, i, 15*time.Second)
	t.Logf("replica %d was cut off (silently: %v) for %v and back after %v", i, silently, lasts,
		took.Round(time.Millisecond))
	if err != nil {
		return err
	}
	return r.Cut(ctx, i)
}
