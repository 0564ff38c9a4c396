package crash

import (
	"context"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stele-db/stele/test/internal/stele"
)

// progressInterval makes periodic progress notifications frequent enough to occur between two kills.
const progressInterval = 200 * time.Millisecond

// plan returns the plan of `make test`, changed by STELE_TEST_CRASH_DURATION and STELE_TEST_CRASH_SEED.
func plan(t *testing.T, duration time.Duration) Plan {
	t.Helper()
	p := Plan{
		Duration: duration,
		EveryMin: 400 * time.Millisecond,
		EveryMax: 1400 * time.Millisecond,
		Clients:  8,
		Seed:     uint64(time.Now().UnixNano()),
	}
	if v := os.Getenv("STELE_TEST_CRASH_DURATION"); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil {
			t.Fatalf("STELE_TEST_CRASH_DURATION: %v", err)
		}
		p.Duration = d
	}
	p.Kills, p.Writes = int(3*p.Duration/(5*time.Second)), int(10*p.Duration/time.Second)
	if v := os.Getenv("STELE_TEST_CRASH_SEED"); v != "" {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatalf("STELE_TEST_CRASH_SEED: %v", err)
		}
		p.Seed = n
	}
	return p
}

func crash(t *testing.T, victim Victim, p Plan) {
	t.Helper()
	t.Logf("seed %d", p.Seed)
	rec, err := Run(t.Context(), victim, p)
	if err != nil {
		t.Errorf("the run did not complete: %v", err)
	}
	if rec == nil {
		return
	}
	checking := time.Now()
	report := Check(rec, t.ArtifactDir())
	t.Logf("%v, kills %d, restarts of at most %v, windows %d, revisions %d; checked in %v", report, rec.Kills,
		slices.Max(append(rec.Restarts, 0)).Round(time.Millisecond), len(rec.Windows), len(rec.Full),
		time.Since(checking).Round(time.Millisecond))
	for _, v := range report.Violations {
		t.Error(v)
	}
	// etcd's term counts elections, Stele's counts histories.
	_, isStele := victim.(*steleVictim)
	if lowest, highest := rec.Terms(0, forever); isStele && lowest != highest {
		t.Errorf("the raft term rose from %d to %d", lowest, highest)
	}
	if rec.Kills < p.Kills || report.AckedWrites < p.Writes {
		t.Errorf("%d kills and %d acknowledged writes, want at least %d and %d", rec.Kills, report.AckedWrites,
			p.Kills, p.Writes)
	}
}

// TestEtcd verifies the checkers on etcd: any violation is a fault of the checkers or a wrong assumption about etcd.
func TestEtcd(t *testing.T) {
	crash(t, newEtcd(t), plan(t, 10*time.Second))
}

// TestOne kills the only stele process on a file.
func TestOne(t *testing.T) {
	victim := newStele(t, 1, "ttl")
	crash(t, victim, plan(t, 25*time.Second))
	victim.servers[0].Check(t)
}

// TestTwo kills two stele processes on one file alternately: the precondition of an append must hold between them.
// Their leases are etcd's, which clients revoke and keep alive.
func TestTwo(t *testing.T) {
	victim := newStele(t, 2, "etcd")
	crash(t, victim, plan(t, 15*time.Second))
	victim.servers[0].Check(t)
}

// steleVictim is one or more stele processes on one file.
type steleVictim struct {
	servers   []*stele.Server
	leaseMode string
}

func newStele(t *testing.T, n int, leaseMode string) *steleVictim {
	v := &steleVictim{leaseMode: leaseMode}
	dir := t.TempDir()
	for i := range n {
		s := stele.New(t, stele.Options{
			Dir:  dir,
			Race: true,
			Args: []string{
				"--lease-mode", leaseMode,
				"--watch-progress-notify-interval", progressInterval.String(),
				// Compacted rows are deleted during the run.
				"--compact-retention", "1s",
			},
		})
		v.servers = append(v.servers, s)
		if err := v.Launch(i); err != nil {
			t.Fatal(err)
		}
		if err := v.WaitReady(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

// ExpiresOnTime reports whether the lease mode is ttl: with etcd's leases, a restart grants the whole TTL again.
func (v *steleVictim) ExpiresOnTime() bool { return v.leaseMode == "ttl" }

func (v *steleVictim) Targets() []string {
	var targets []string
	for _, s := range v.servers {
		targets = append(targets, s.Target)
	}
	return targets
}

func (v *steleVictim) Kill(i int) error   { return v.servers[i].Kill() }
func (v *steleVictim) Launch(i int) error { return v.servers[i].Exec() }

func (v *steleVictim) WaitReady(ctx context.Context, i int) error {
	return v.servers[i].WaitReady(ctx)
}
