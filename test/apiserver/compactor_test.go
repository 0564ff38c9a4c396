package apiserver

import (
	"errors"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apiserver/pkg/storage/etcd3"
	clocktesting "k8s.io/utils/clock/testing"
)

// TestCompactor runs the API server's compactor with a clock that the test advances.
func TestCompactor(t *testing.T) {
	on := &servers{t: t}
	t.Run("Cycles", func(t *testing.T) { testCycles(t, newClient(t, on.of(shared, t)).Client) })
	t.Run("Conflict", func(t *testing.T) { testConflict(t, newClient(t, on.of(shared, t)).Client) })
}

// testCycles expects every cycle to compact at the revision that the previous cycle found.
func testCycles(t *testing.T, client *clientv3.Client) {
	clock := clocktesting.NewFakeClock(time.Now())
	compactor := etcd3.NewCompactor(client, time.Minute, clock, nil)
	t.Cleanup(compactor.Stop)
	cycle := func() {
		await(t, "the compactor waits", clock.HasWaiters)
		clock.Step(time.Minute)
		await(t, "the compactor waits again", clock.HasWaiters)
	}
	cycle()
	if got := compactor.CompactRevision(); got != 0 {
		t.Errorf("compacted at %d in the first cycle, want nothing", got)
	}
	var written []int64
	for range 4 {
		answer, err := client.Put(t.Context(), "key", "value")
		if err != nil {
			t.Fatal(err)
		}
		written = append(written, answer.Header.Revision)
		checkCompacted(t, client, written[:max(0, len(written)-2)], true)
		checkCompacted(t, client, written[max(0, len(written)-2):], false)
		cycle()
		checkCompacted(t, client, written[:len(written)-1], true)
		checkCompacted(t, client, written[len(written)-1:], false)
		// The revision before this write is the compactor's own write in the previous cycle.
		if got, want := compactor.CompactRevision(), answer.Header.Revision-1; got != want {
			t.Errorf("compacted at %d, want %d", got, want)
		}
	}
}

func checkCompacted(t *testing.T, client *clientv3.Client, revisions []int64, want bool) {
	t.Helper()
	for _, revision := range revisions {
		read := func() (bool, error) {
			_, err := client.Get(t.Context(), "key", clientv3.WithRev(revision))
			return errors.Is(err, rpctypes.ErrCompacted), err
		}
		if want && len(client.Endpoints()) > 1 {
			// Another replica may serve the revision for some more milliseconds.
			await(t, "it is compacted everywhere", func() bool {
				for range 2 * len(client.Endpoints()) {
					if compacted, _ := read(); !compacted {
						return false
					}
				}
				return true
			})
		}
		if compacted, err := read(); compacted != want || !compacted && err != nil {
			t.Errorf("read at %d: %v; compacted is to be %v", revision, err, want)
		}
	}
}

// testConflict expects only one of several API servers to compact in a cycle, and the others to notice that.
func testConflict(t *testing.T, client *clientv3.Client) {
	put, err := client.Put(t.Context(), "key", "value")
	if err != nil {
		t.Fatal(err)
	}
	revision := put.Header.Revision
	for _, step := range []struct {
		what                      string
		cycle, at                 int64
		nextCycle, current, found int64
	}{
		{"the first in its cycle", 0, revision, 1, revision + 1, revision},
		{"another in the same cycle", 0, revision + 1, 1, revision + 1, revision},
		{"the next cycle", 1, revision + 1, 2, revision + 2, revision + 1},
	} {
		cycle, current, found, err := etcd3.Compact(t.Context(), client, step.cycle, step.at)
		if err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		if cycle != step.nextCycle || current != step.current || found != step.found {
			t.Errorf("%s: cycle %d, current revision %d, compacted at %d; want %d, %d, %d",
				step.what, cycle, current, found, step.nextCycle, step.current, step.found)
		}
	}
}
