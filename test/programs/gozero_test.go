package programs

import (
	"strings"
	"testing"
	"time"

	"github.com/stele-db/stele/test/internal/process"
	"github.com/stele-db/stele/test/internal/target"
)

// goZeroTTL is how long go-zero's keys live without a keep-alive.
const goZeroTTL = 10 * time.Second

// goZero builds a program with go-zero's discov.
func goZero(t *testing.T) string {
	t.Helper()
	return process.Program{Name: "gozero", Package: ".", Dir: "programs/gozero"}.Binary(t, t.TempDir())
}

// TestGoZeroDiscovery publishes services and restarts the server: a subscriber keeps all of them, and receives changes.
func TestGoZeroDiscovery(t *testing.T) {
	program := goZero(t)
	onEach(t, []string{modeEtcd}, func(t *testing.T, server *target.Target) {
		services := converse(t, program, server.Address)
		for _, command := range []string{"publish a", "publish b", "publish c"} {
			services.send(t, command)
		}
		services.await(t, "a b c")
		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		services.send(t, "publish d")
		services.await(t, "a b c d")
		if selection() == "all" {
			services.silent(t, goZeroTTL+5*time.Second)
		}
		services.send(t, "stop a")
		services.await(t, "b c d")
	})
}

// TestGoZeroDiscoveryTTL expects Stele to refuse go-zero's keys, which are named after their leases, in the lease mode
// ttl.
func TestGoZeroDiscoveryTTL(t *testing.T) {
	services := converse(t, goZero(t), target.Stele(t, "--lease-mode="+modeTTL).Address)
	services.send(t, "publish a")
	if line := <-services.lines; !strings.Contains(line, "publish: ") || !strings.Contains(line, "--lease-mode=etcd") {
		t.Errorf("the program prints %q; want an error that names --lease-mode=etcd", line)
	}
}
