package programs

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stele-db/stele/test/internal/target"
)

// TestElect observes a leader by `etcdctl elect --listen`. The leader proclaims another value, and then resigns.
func TestElect(t *testing.T) {
	t.Parallel()
	ctl := etcdctl(t)
	onEach(t, []string{modeEtcd}, func(t *testing.T, server *target.Target) {
		endpoint := "--endpoints=" + server.Address
		early := ctl.start(t, endpoint, "elect", "--listen", "race")
		first := ctl.start(t, endpoint, "elect", "race", "anna")
		key, _, _ := strings.Cut(first.awaitOut(t, toolTimeout, "anna\n"), "\n")
		second := ctl.start(t, endpoint, "elect", "race", "bert")
		awaitKeys(t, ctl, endpoint, "race/", 2)
		late := ctl.start(t, endpoint, "elect", "--listen", "race")
		for _, observer := range []*job{early, late} {
			observer.awaitOut(t, toolTimeout, key+"\nanna\n")
		}
		// To proclaim is to write the leader's key.
		ctl.run(t, endpoint, "put", "--ignore-lease", key, "anna again")
		for _, observer := range []*job{early, late} {
			observer.awaitOut(t, toolTimeout, key+"\nanna again\n")
		}
		if second.out.String() != "" {
			t.Errorf("two leaders: %s", second.out.String())
		}
		if code := first.interrupt(t); code != 0 {
			t.Errorf("exit code %d of the leader that resigned", code)
		}
		next, _, _ := strings.Cut(second.awaitOut(t, toolTimeout, "bert\n"), "\n")
		for _, observer := range []*job{early, late} {
			out := observer.awaitOut(t, toolTimeout, next+"\nbert\n")
			if want := key + "\nanna\n" + key + "\nanna again\n" + next + "\nbert\n"; out != want {
				t.Errorf("the observer printed %q, want %q", out, want)
			}
			if code := observer.interrupt(t); code != 0 {
				t.Errorf("exit code %d of an observer", code)
			}
		}
	})
}

// TestElectLeaderKilled kills the leader. etcdctl's sessions have a TTL of 60 s, which no flag changes.
func TestElectLeaderKilled(t *testing.T) {
	long(t)
	t.Parallel()
	const ttl = time.Minute
	ctl := etcdctl(t)
	onEach(t, []string{modeEtcd}, func(t *testing.T, server *target.Target) {
		endpoint := "--endpoints=" + server.Address
		observer := ctl.start(t, endpoint, "elect", "--listen", "race")
		first := ctl.start(t, endpoint, "elect", "race", "anna")
		first.awaitOut(t, toolTimeout, "anna\n")
		second := ctl.start(t, endpoint, "elect", "race", "bert")
		awaitKeys(t, ctl, endpoint, "race/", 2)
		killed := time.Now()
		first.kill()
		holds(t, ttl/2, func() error {
			if second.out.String() != "" {
				return errors.New("the second one leads before the lease of the first has expired")
			}
			return nil
		})
		next, _, _ := strings.Cut(second.awaitOut(t, 2*ttl, "bert\n"), "\n")
		checkExpiry(t, killed, ttl)
		observer.awaitOut(t, toolTimeout, next+"\nbert\n")
	})
}
