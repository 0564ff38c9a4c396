package programs

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stele-db/stele/test/internal/process"
	"github.com/stele-db/stele/test/internal/target"
)

// TestCheckPerf runs the load of `etcdctl check perf`, whose verdict is etcd's own.
func TestCheckPerf(t *testing.T) {
	long(t)
	etcdctl := process.Program{Name: "etcdctl", Package: "go.etcd.io/etcd/etcdctl/v3", Dir: "."}.Binary(t, t.TempDir())
	onEach(t, []string{modeEtcd}, func(t *testing.T, server *target.Target) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, etcdctl, "--endpoints="+server.Address, "check", "perf", "--load=s").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "PASS\n") {
			t.Errorf("check perf: %v\n%s", err, out)
		}
	})
}
