package kubernetes

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestControlPlane runs the checks in each set-up.
func TestControlPlane(t *testing.T) {
	setups := os.Getenv("STELE_TEST_KUBERNETES")
	if setups == "" {
		setups = onSQLite
	}
	programs(t)
	r := &report{}
	t.Cleanup(func() { r.print(t) })
	for setup := range strings.SplitSeq(setups, ",") {
		t.Run(setup, func(t *testing.T) { controlPlane(t, r, setup) })
	}
}

// controlPlane runs all checks in one set-up, in an order in which they do not disturb each other.
func controlPlane(t *testing.T, r *report, setup string) {
	s := startStore(t, setup)
	logs := logDir(t, setup)
	// Cleanups run in reverse order: the programs end before the logs are kept.
	t.Cleanup(func() {
		if t.Failed() {
			write(t, filepath.Join(logs, "store.log"), []byte(s.logs()))
			t.Logf("logs are kept in %s", logs)
			return
		}
		_ = os.RemoveAll(logs)
	})
	c := newCluster(t, s, logs)

	one := func(name string, do func(t *testing.T, c *cluster) string) bool {
		return r.check(t, setup, name, false, func(st *testing.T) string { return do(st, c) })
	}
	must := func(name string, do func(t *testing.T, c *cluster) string) {
		if !one(name, do) {
			t.Fatalf("nothing can be checked without: %s", name)
		}
	}
	must("API server ready", checkReady)
	must("controllers, scheduler and nodes ready", checkNodesReady)

	one("deployments", checkDeployments)
	one("scale", checkScale)
	one("rolling restart", checkRollingRestart)
	one("consistent lists", checkConsistentLists)
	one("fresh cache", checkFreshCache)
	one("paged lists", checkPagedLists)
	one("watch from a resource version", checkWatchFrom)
	one("POST to watch event", checkWatchLatency)
	one("object too large refused", checkLargeObjects)
	one("namespace deletion", checkNamespaceDeletion)

	// These checks mostly wait, so they run in parallel. checkNotReady comes later, because a takeover of the
	// controller manager would restart the grace period of its node.
	inParallel := func(t *testing.T, name string, do func(t *testing.T, c *cluster) string) {
		r.check(t, setup, name, true, func(st *testing.T) string { return do(st, c) })
	}
	t.Run("meanwhile", func(t *testing.T) {
		inParallel(t, "compaction", checkCompaction)
		inParallel(t, "events expire", checkEventsExpire)
		inParallel(t, "second API server", checkSecondAPIServer)
		inParallel(t, "node heartbeats", checkHeartbeats)
		inParallel(t, "API server identity", checkIdentity)
		inParallel(t, "controller manager taken over", func(t *testing.T, c *cluster) string {
			return checkTakeover(t, c, controllerManager)
		})
		inParallel(t, "scheduler taken over", func(t *testing.T, c *cluster) string {
			return checkTakeover(t, c, scheduler)
		})
	})
	t.Run("then", func(t *testing.T) {
		inParallel(t, "node not ready", checkNotReady)
		inParallel(t, "events expire across restarts", checkEventsExpireAcrossRestarts)
	})
	one("store killed under load", checkKills)
	one("caches consistent", checkCaches)
	one("no program ended by itself", checkAlive)
}

// logDir returns an empty directory for the logs of a set-up.
func logDir(t *testing.T, setup string) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join(resultsDir, "logs-"+setup))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}
