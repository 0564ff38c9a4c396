package programs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stele-db/stele/test/internal/target"
)

// TestLock runs commands under `etcdctl lock` with several contenders.
func TestLock(t *testing.T) {
	t.Parallel()
	ctl := etcdctl(t)
	onEach(t, []string{modeEtcd}, func(t *testing.T, server *target.Target) {
		endpoint := "--endpoints=" + server.Address
		log := filepath.Join(t.TempDir(), "log")
		contender := fmt.Sprintf(`echo begin $ETCD_LOCK_KEY $ETCD_LOCK_REV >>%[1]s; sleep 0.02; echo end >>%[1]s`, log)
		var jobs []*job
		for range 6 {
			jobs = append(jobs, ctl.start(t, endpoint, "lock", "work", "--", "sh", "-c", contender))
		}
		for _, j := range jobs {
			if code := j.wait(t, toolTimeout); code != 0 {
				t.Errorf("exit code %d: %s", code, j.failure.String())
			}
		}
		checkTurns(t, log, len(jobs))
		if r := ctl.try(t, toolTimeout, endpoint, "lock", "work", "--", "sh", "-c", "exit 3"); r.Code != 3 {
			t.Errorf("exit code %d, want the command's, 3", r.Code)
		}
		if left := ctl.run(t, endpoint, "get", "--prefix", "work"); left != "" {
			t.Errorf("after all were unlocked: %s", left)
		}
	})
}

// checkTurns fails the test unless the commands that wrote log ran one after the other, each with a key of its own.
func checkTurns(t *testing.T, log string, n int) {
	t.Helper()
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) != 2*n {
		t.Fatalf("%d commands wrote\n%s", n, text)
	}
	keys := map[string]bool{}
	for i := 0; i < len(lines); i += 2 {
		if !strings.HasPrefix(lines[i], "begin work/") || lines[i+1] != "end" {
			t.Errorf("two held the lock at once:\n%s", text)
		}
		keys[lines[i]] = true
	}
	if len(keys) != n {
		t.Errorf("keys and revisions are not unique:\n%s", text)
	}
}

// TestLockHolderKilled kills the holder of a lock: the next contender gets it once the lease has expired, and not
// before.
func TestLockHolderKilled(t *testing.T) {
	t.Parallel()
	const ttl = 2
	ctl := etcdctl(t)
	onEach(t, []string{modeEtcd}, func(t *testing.T, server *target.Target) {
		endpoint := "--endpoints=" + server.Address
		holder := ctl.start(t, endpoint, "lock", "work", fmt.Sprintf("--ttl=%d", ttl))
		holder.awaitOut(t, toolTimeout, "work/")
		next := ctl.start(t, endpoint, "lock", "work", "--", "echo", "acquired")
		awaitKeys(t, ctl, endpoint, "work", 2)
		last := ctl.start(t, endpoint, "lock", "work")
		awaitKeys(t, ctl, endpoint, "work", 3)
		holds(t, (ttl+1)*time.Second, func() error {
			if next.out.String()+last.out.String() != "" {
				return errors.New("the lock has two holders")
			}
			return nil
		})
		killed := time.Now()
		holder.kill()
		next.awaitOut(t, toolTimeout, "acquired")
		checkExpiry(t, killed, ttl*time.Second)
		last.awaitOut(t, toolTimeout, "work/")
		if code := last.interrupt(t); code != 0 {
			t.Errorf("exit code %d after an interrupt", code)
		}
		if code := next.wait(t, toolTimeout); code != 0 {
			t.Errorf("exit code %d of the command's lock", code)
		}
	})
}

// checkExpiry fails the test unless a lease expired at the right time after its holder was killed. The holder's last
// keep-alive was at most a third of the TTL before. etcd's least TTL is 2 s, and its lessor checks for expired leases
// every half second.
func checkExpiry(t *testing.T, killed time.Time, ttl time.Duration) {
	t.Helper()
	took := time.Since(killed)
	if took < ttl/2 || took > ttl+4*time.Second {
		t.Errorf("the lease expired %v after its holder was killed; the TTL is %v", took, ttl)
	}
	t.Logf("the lease expired %v after its holder was killed", took)
}

// awaitKeys waits until n keys begin with prefix.
func awaitKeys(t *testing.T, ctl tool, endpoint, prefix string, n int) {
	t.Helper()
	within(t, toolTimeout, func() error {
		if got := strings.Count(ctl.run(t, endpoint, "get", "--prefix", "--keys-only", prefix), prefix); got != n {
			return fmt.Errorf("%d keys begin with %s, want %d", got, prefix, n)
		}
		return nil
	})
}

// TestLockLeaseRevoked revokes the lease of a holder, which must end with an error.
func TestLockLeaseRevoked(t *testing.T) {
	t.Parallel()
	ctl := etcdctl(t)
	onEach(t, []string{modeEtcd}, func(t *testing.T, server *target.Target) {
		endpoint := "--endpoints=" + server.Address
		holder := ctl.start(t, endpoint, "lock", "work", "--ttl=3")
		key := strings.TrimSpace(holder.awaitOut(t, toolTimeout, "work/"))
		ctl.run(t, endpoint, "lease", "revoke", strings.TrimPrefix(key, "work/"))
		if code := holder.wait(t, toolTimeout); code != 1 ||
			!strings.Contains(holder.failure.String(), "session expired") {
			t.Errorf("exit code %d: %s", code, holder.failure.String())
		}
	})
}

// TestLockNeedsLeases runs lock and elect on a Stele whose leases are not unique.
func TestLockNeedsLeases(t *testing.T) {
	t.Parallel()
	ctl := etcdctl(t)
	server := target.Stele(t, "--lease-mode="+modeTTL)
	for _, args := range [][]string{{"lock", "work", "true"}, {"elect", "race", "me"}} {
		r := ctl.try(t, toolTimeout, append([]string{"--endpoints=" + server.Address}, args...)...)
		if r.Code != 1 || !strings.Contains(r.Failure, "need --lease-mode=etcd") {
			t.Errorf("%v: exit code %d: %s%s", args, r.Code, r.Out, r.Failure)
		}
	}
}
