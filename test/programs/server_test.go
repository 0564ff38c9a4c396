package programs

import (
	"testing"

	"github.com/stele-db/stele/test/internal/target"
)

// The lease modes of Stele, in which a program may behave differently.
const (
	modeEtcd = "etcd"
	modeTTL  = "ttl"
)

// onEach runs test on an etcd, and on a Stele for each of the lease modes.
func onEach(t *testing.T, modes []string, test func(t *testing.T, server *target.Target)) {
	t.Helper()
	t.Run("etcd", func(t *testing.T) { test(t, target.Reference(t)) })
	for _, mode := range modes {
		t.Run("stele/"+mode, func(t *testing.T) { test(t, target.Stele(t, "--lease-mode="+mode)) })
	}
}

// long skips a test that belongs to the long form of the suite.
func long(t *testing.T) {
	t.Helper()
	if selection() != "all" {
		t.Skip("runs with STELE_TEST_PROGRAMS=all")
	}
}
