package faults

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/test/crash"
)

// forever is later than the end of every run.
const forever = time.Duration(math.MaxInt64)

// duration returns the length of each run.
func duration(t *testing.T) time.Duration {
	t.Helper()
	v := os.Getenv("STELE_TEST_FAULT_DURATION")
	if v == "" {
		return 4 * time.Second
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		t.Fatalf("STELE_TEST_FAULT_DURATION: %v", err)
	}
	return d
}

// faultDuration returns how long a fault lasts: short, or long in a long run.
func faultDuration(t *testing.T, short, long time.Duration) time.Duration {
	t.Helper()
	if duration(t) >= 30*time.Second {
		return long
	}
	return short
}

// fault configures the faults of a run.
type fault struct {
	// faults is the least number of faults.
	faults int
	// min and max bound the time between two of them.
	min, max time.Duration
	// disturb causes the faults; nil kills one replica after the other.
	disturb func(ctx context.Context, r *crash.Running) error
	// breaksWatches is true if watch streams may break.
	breaksWatches bool
	// unavailable bounds the time in which a healthy replica acknowledges no write; 0 means 30 s, enough for a database
	// server to restart on a slow machine.
	unavailable time.Duration
	// slack is how late expired keys may be deleted; 0 means 6 s.
	slack time.Duration
}

func (f fault) plan(t *testing.T) crash.Plan {
	t.Helper()
	p := crash.Plan{
		Duration: duration(t), Kills: f.faults, Writes: int(10 * duration(t) / time.Second),
		EveryMin: f.min, EveryMax: f.max, Clients: 3 * replicas, Seed: uint64(time.Now().UnixNano()),
		Disturb: f.disturb, Move: time.Second, Pin: true, ExpirySlack: f.slack,
	}
	if v := os.Getenv("STELE_TEST_FAULT_SEED"); v != "" {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatalf("STELE_TEST_FAULT_SEED: %v", err)
		}
		p.Seed = n
	}
	return p
}

// run records a run and checks it.
func (f fault) run(t *testing.T, c *cluster) {
	t.Helper()
	if rec := f.record(t, c); rec != nil {
		f.assess(t, rec)
	}
}

// assess checks a run in which the database lost nothing.
func (f fault) assess(t *testing.T, rec *crash.Recorded) {
	t.Helper()
	if lowest, highest := rec.Terms(0, forever); lowest != highest {
		t.Errorf("the raft term rose from %d to %d, although the database lost nothing", lowest, highest)
	}
	for i := range replicas {
		if n := rec.Broken(i); n > 0 && !f.breaksWatches {
			t.Errorf("replica %d broke its watches %d times", i, n)
		}
	}
	f.judge(t, rec, "")
}

// record returns the record of a run, or nil if the run did not complete.
func (f fault) record(t *testing.T, c *cluster) *crash.Recorded {
	t.Helper()
	plan := f.plan(t)
	t.Logf("seed %d", plan.Seed)
	rec, err := crash.Run(t.Context(), c, plan)
	if err != nil {
		// The record is incomplete, so that checking it would only report that.
		t.Errorf("the run did not complete: %v", err)
		return nil
	}
	if rec.Kills < plan.Kills {
		t.Errorf("%d faults, want at least %d", rec.Kills, plan.Kills)
	}
	limit := f.unavailable
	if limit == 0 {
		limit = 30 * time.Second
	}
	if n := rec.Unavailable(); n > limit {
		t.Errorf("a healthy replica acknowledged nothing for %v", n)
	}
	c.servers[0].Check(t)
	return rec
}

// judge checks a history and prints the summary.
func (f fault) judge(t *testing.T, rec *crash.Recorded, what string) {
	t.Helper()
	checking := time.Now()
	report := crash.Check(rec, t.ArtifactDir())
	t.Logf("FAULTS %s%s: %v; faults %d; unavailable %.1fs; windows %d, checked in %v", t.Name(), what,
		report, rec.Kills,
		rec.Unavailable().Seconds(), len(rec.Windows), time.Since(checking).Round(time.Millisecond))
	for _, v := range report.Violations {
		t.Error(v)
	}
	if report.AckedWrites < 20 {
		t.Errorf("%d acknowledged writes are too few", report.AckedWrites)
	}
}

// on runs a subtest for each kind of database.
func on(t *testing.T, kinds []string, run func(t *testing.T, db *database.Server)) {
	t.Helper()
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) { run(t, database.Shared(t, kind)) })
	}
}

// both returns the two databases, or one in a short run.
func both() []string {
	if everything {
		return []string{database.Postgres, database.MariaDB}
	}
	return []string{database.Postgres}
}

var errBounded = errors.New("not in time")

// back waits until replica i answers a linearizable read, and returns how long that took.
func back(ctx context.Context, r *crash.Running, i int, within time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, within, errBounded)
	defer cancel()
	from := r.Now()
	for {
		op := r.Do(ctx, i, &pb.RangeRequest{Key: []byte("none")})
		if op.Outcome == crash.Acked {
			return r.Now() - from, nil
		}
		if ctx.Err() != nil {
			return 0, fmt.Errorf("replica %d is not back within %v: %w, %w", i, within, context.Cause(ctx), op.Err)
		}
		if err := crash.Pause(ctx, 20*time.Millisecond); err != nil {
			return 0, fmt.Errorf("replica %d is not back within %v: %w, %w", i, within, err, op.Err)
		}
	}
}

// allBack waits for all replicas, and begins a window.
func allBack(ctx context.Context, r *crash.Running, within time.Duration) error {
	for i := range replicas {
		if _, err := back(ctx, r, i, within); err != nil {
			return err
		}
	}
	return r.Cut(ctx, 0)
}

// cutOff checks that a replica that cannot reach its database answers serializable reads only.
func cutOff(ctx context.Context, r *crash.Running, i int) error {
	var g errgroup.Group
	g.Go(func() error {
		if op := r.Do(ctx, i, &pb.RangeRequest{Key: []byte("none"), Serializable: true}); op.Outcome != crash.Acked {
			return fmt.Errorf("a serializable read was not answered: %v", op)
		}
		return nil
	})
	for _, request := range []proto.Message{
		&pb.RangeRequest{Key: []byte("none")},
		&pb.PutRequest{Key: []byte("cut off"), Value: fmt.Appendf(nil, "%d at %v", i, r.Now())},
	} {
		g.Go(func() error {
			if op := r.Do(ctx, i, request); !refused(op) {
				return fmt.Errorf("not refused: %v", op)
			}
			return nil
		})
	}
	return g.Wait()
}

func refused(op *crash.Op) bool {
	code := status.Code(op.Err)
	return op.Outcome == crash.Unknown && (code == codes.Unavailable || code == codes.DeadlineExceeded)
}
