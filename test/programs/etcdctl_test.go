package programs

import (
	"strings"
	"testing"
	"time"

	"github.com/stele-db/stele/test/internal/target"
)

// TestCheckPerf runs the load of `etcdctl check perf`, whose verdict is etcd's own: 150 puts a second for a minute,
// none of which takes longer than half a second.
func TestCheckPerf(t *testing.T) {
	long(t)
	ctl := etcdctl(t)
	onEach(t, []string{modeEtcd}, func(t *testing.T, server *target.Target) {
		start := time.Now()
		r := ctl.try(t, 2*time.Minute, "--endpoints="+server.Address,
			"check", "perf", "--load=s", "--auto-compact", "--auto-defrag")
		if r.Code != 0 || !strings.Contains(r.Out, "PASS\n") {
			t.Errorf("check perf: exit code %d\n%s%s", r.Code, verdict(r.Out), r.Failure)
		}
		t.Logf("%v\n%s", time.Since(start), verdict(r.Out))
		checkNoKeys(t, ctl, server)
	})
}

// TestCheckDatascale writes 10,000 keys of 1 KiB with `etcdctl check datascale`, which reports the growth of the
// process.
func TestCheckDatascale(t *testing.T) {
	ctl := etcdctl(t)
	onEach(t, []string{modeEtcd, modeTTL}, func(t *testing.T, server *target.Target) {
		start := time.Now()
		r := ctl.try(t, 2*time.Minute, "--endpoints="+server.Address,
			"check", "datascale", "--load=s", "--auto-compact", "--auto-defrag")
		if r.Code != 0 || !strings.Contains(r.Out, "PASS: Approximate system memory used") {
			t.Errorf("check datascale: exit code %d\n%s%s", r.Code, verdict(r.Out), r.Failure)
		}
		t.Logf("%v\n%s", time.Since(start), verdict(r.Out))
		checkNoKeys(t, ctl, server)
	})
}

// verdict returns a check's output without its progress bar.
func verdict(out string) string {
	if at := strings.LastIndex(out, " p/s"); at >= 0 {
		return out[at+len(" p/s"):]
	}
	return out
}

// checkNoKeys fails the test if a check has left keys behind.
func checkNoKeys(t *testing.T, ctl tool, server *target.Target) {
	t.Helper()
	if left := ctl.run(t, "--endpoints="+server.Address, "get", "--prefix", "--keys-only", "--limit=3",
		""); left != "" {
		t.Errorf("the check left keys behind: %q", left)
	}
}
