package main

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stele-db/stele/test/internal/process"
	"github.com/stele-db/stele/test/internal/stele"
)

// takeover bounds the time of an election after the death of a leader. A candidate that read the Lease just before the
// last renewal sees the renewal one period later, counts the duration from then, and reads again after one more period.
// client-go randomly extends a period to up to 2.2 times its length.
const takeover = leaseDuration + 2*(retryPeriod*22/10)

// TestElection checks that one of two candidates leads at a time, whether the leader, the store or both are killed.
func TestElection(t *testing.T) {
	store := stele.Start(t, stele.Options{Plain: true})
	api := startAPIServer(t, "http://"+store.Target)
	all := &candidates{kubeconfig: api.kubeconfig}
	all.binary = process.Program{Name: "election", Package: "./election", Dir: "kubernetes"}.Binary(t, t.TempDir())
	begin := time.Now()
	all.start(t, "a")
	all.start(t, "b")
	first := all.nextLeader(t, begin, takeover)
	t.Logf("%s leads after %v", first.ID, since(begin, first))

	t.Run("leader killed", func(t *testing.T) {
		all.works(t, first.ID, time.Now())
		killed := time.Now()
		all.kill(t, first.ID)
		next := all.nextLeader(t, killed, takeover)
		if next.ID == first.ID {
			t.Fatalf("%s leads after it was killed", next.ID)
		}
		t.Logf("%s leads %v after %s was killed", next.ID, since(killed, next), first.ID)
		all.works(t, next.ID, next.Time)
		first = next
	})
	// This candidate replaces the killed one.
	all.start(t, "c")

	t.Run("store killed and restarted", func(t *testing.T) {
		killed := time.Now()
		if err := store.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := store.Launch(t.Context()); err != nil {
			t.Fatal(err)
		}
		up := time.Now()
		all.works(t, first.ID, up)
		if _, ok := all.leaderSince(killed); ok {
			t.Fatal("the restart changed the leader")
		}
		// The leader still renews its Lease: otherwise it would give up by then.
		all.works(t, first.ID, up.Add(renewDeadline+retryPeriod))
		if _, ok := all.leaderSince(killed); ok {
			t.Fatal("the restart changed the leader, later")
		}
		t.Logf("%s led on; the store was away for %v", first.ID, up.Sub(killed).Round(time.Millisecond))
	})

	t.Run("store away until the leader gives up", func(t *testing.T) {
		killed := time.Now()
		if err := store.Kill(); err != nil {
			t.Fatal(err)
		}
		gone := all.await(t, killed, renewDeadline+10*time.Second, "the leader gives up", func(e event) bool {
			return e.Event == lost && e.ID == first.ID
		})
		up := time.Now()
		if err := store.Launch(t.Context()); err != nil {
			t.Fatal(err)
		}
		next := all.nextLeader(t, up, takeover)
		all.works(t, next.ID, next.Time)
		t.Logf("%s gave up after %v; %s leads %v after the store was back", gone.ID, since(killed, gone), next.ID,
			since(up, next))
		first = next
	})

	t.Run("leader and store killed", func(t *testing.T) {
		killed := time.Now()
		all.kill(t, first.ID)
		if err := store.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := store.Launch(t.Context()); err != nil {
			t.Fatal(err)
		}
		next := all.nextLeader(t, killed, takeover)
		all.works(t, next.ID, next.Time)
		t.Logf("%s leads %v after %s and the store were killed", next.ID, since(killed, next), first.ID)
	})

	history := all.events()
	if err := check(history); err != nil {
		t.Error(err)
	}
	t.Log(summary(history))
}

// TestUnelected runs two processes that work without an election. check must report that, and even then no change is
// lost, because every change compares the resource version.
func TestUnelected(t *testing.T) {
	const changes = 100
	store := stele.Start(t, stele.Options{Plain: true})
	all := &candidates{kubeconfig: startAPIServer(t, "http://"+store.Target).kubeconfig, args: []string{"--unelected"}}
	all.binary = process.Program{Name: "election", Package: "./election", Dir: "kubernetes"}.Binary(t, t.TempDir())
	all.start(t, "a")
	all.start(t, "b")
	for _, id := range []string{"a", "b"} {
		all.await(t, time.Time{}, time.Minute, id+" works", func(e event) bool {
			return e.Event == wrote && e.ID == id && e.Sequence > changes
		})
	}
	history := all.events()
	if err := check(history); err == nil {
		t.Error("two that work at once are not noticed")
	}
	writes := slices.DeleteFunc(history, func(e event) bool { return e.Event != wrote })
	if err := checkSequence(writes); err != nil {
		t.Error(err)
	}
	t.Logf("%d changes", len(writes))
}

func since(begin time.Time, e event) time.Duration { return e.Time.Sub(begin).Round(time.Millisecond) }

func summary(history []event) string {
	terms, writes := 0, 0
	for _, e := range history {
		switch e.Event {
		case leading:
			terms++
		case wrote:
			writes++
		}
	}
	return fmt.Sprintf("%d terms, %d changes of the record", terms, writes)
}
