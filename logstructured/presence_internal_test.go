package logstructured

import (
	"slices"
	"testing"
	"time"

	"github.com/stele-db/stele/logstructured/log"
)

// TestPresenceAcrossClockJumps sets the clock of the database while three replicas run and one of them is killed. The
// killed replica leaves the list after the usual time, and the others stay in it.
func TestPresenceAcrossClockJumps(t *testing.T) {
	t.Parallel()
	const self, running, killed = 1, 2, 3
	for name, jump := range map[string]time.Duration{
		"none": 0, "an hour ahead": time.Hour, "an hour back": -time.Hour, "a second back": -time.Second,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var observer, late presences
			local := time.Now()
			begin := local
			clock := log.Timestamp(1_000_000_000)
			seen := map[uint64]log.Timestamp{}
			list := func() (all []log.Replica) {
				for id, at := range seen {
					all = append(all, log.Replica{ID: id, Seen: at})
				}
				return all
			}
			has := func(list []log.Replica, id uint64) bool {
				return slices.ContainsFunc(list, func(r log.Replica) bool { return r.ID == id })
			}
			var gone, forgot time.Duration
			for step := range 50 {
				elapsed := local.Sub(begin)
				if step == 1 { // right after the last heartbeat of the killed replica
					clock += log.Timestamp(jump.Milliseconds())
				}
				if step == 0 {
					seen[killed] = clock
				}
				seen[running], seen[self] = clock-500, clock
				present, forgotten := observer.update(list(), self, clock, local)
				if !has(present, self) || !has(present, running) || has(forgotten, self) || has(forgotten, running) {
					t.Errorf("after %v the running replicas are %v, and forgotten are %v", elapsed, present, forgotten)
				}
				if !has(present, killed) && gone == 0 {
					gone = elapsed
				} else if has(present, killed) && gone > 0 {
					t.Errorf("the killed replica is back after %v", elapsed)
				}
				if has(forgotten, killed) && forgot == 0 {
					forgot = elapsed
				}
				if step >= 1 { // a replica that starts after the jump
					present, forgotten := late.update(list(), self, clock, local)
					if step > 1 && !has(present, running) || has(forgotten, running) {
						t.Errorf("one that started later lists %v after %v", present, elapsed)
					}
					if has(present, killed) && elapsed > replicaTTL+2*heartbeatInterval {
						t.Errorf("one that started later lists the killed replica after %v", elapsed)
					}
				}
				local, clock = local.Add(heartbeatInterval), clock+log.Timestamp(heartbeatInterval.Milliseconds())
			}
			if gone <= replicaTTL || gone > replicaTTL+heartbeatInterval {
				t.Errorf("the killed replica left the list after %v", gone)
			}
			if forgot <= forgetAfter || forgot > forgetAfter+2*heartbeatInterval {
				t.Errorf("the killed replica was forgotten after %v", forgot)
			}
		})
	}
}
