package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stele-db/stele/test/internal/process"
)

// candidates has the processes of the program by ID, including the killed ones.
type candidates struct {
	binary, kubeconfig string
	// args are added to the command line of each candidate.
	args      []string
	processes map[string]*process.Server
}

// start starts a candidate that lives as long as t, and waits until it is ready to lead. Each id is used once.
func (c *candidates) start(t *testing.T, id string) {
	t.Helper()
	if c.processes == nil {
		c.processes = map[string]*process.Server{}
	}
	p := process.New(t, process.Config{
		Binary: c.binary, Args: append([]string{"--kubeconfig", c.kubeconfig, "--id", id}, c.args...), Dir: t.TempDir(),
	})
	if err := p.Exec(); err != nil {
		t.Fatal(err)
	}
	c.processes[id] = p
	c.await(t, time.Time{}, 30*time.Second, id+" is a candidate", func(e event) bool {
		return e.Event == waiting && e.ID == id
	})
}

func (c *candidates) kill(t *testing.T, id string) {
	t.Helper()
	if err := c.processes[id].Kill(); err != nil {
		t.Fatal(err)
	}
}

// events returns the events of all candidates in the order of their times, which come from one clock.
func (c *candidates) events() []event {
	var all []event
	for _, p := range c.processes {
		for line := range strings.Lines(p.Logs()) {
			var e event
			// Other lines are the log of client-go, or incomplete.
			if json.Unmarshal([]byte(line), &e) == nil && e.Event != "" {
				all = append(all, e)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b event) int { return a.Time.Compare(b.Time) })
	return all
}

// await returns the first event after begin for which wanted returns true.
func (c *candidates) await(t *testing.T, begin time.Time, within time.Duration, what string,
	wanted func(event) bool) event {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, e := range c.events() {
			if e.Time.After(begin) && wanted(e) {
				return e
			}
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: not within %v", what, within)
		}
	}
}

// nextLeader returns the first event after begin in which a candidate begins to lead.
func (c *candidates) nextLeader(t *testing.T, begin time.Time, within time.Duration) event {
	t.Helper()
	return c.await(t, begin, within-time.Since(begin), "a candidate leads", func(e event) bool {
		return e.Event == leading
	})
}

// leaderSince returns the first event after begin in which a candidate began to lead, and false if there is none.
func (c *candidates) leaderSince(begin time.Time) (event, bool) {
	for _, e := range c.events() {
		if e.Event == leading && e.Time.After(begin) {
			return e, true
		}
	}
	return event{}, false
}

// works waits until the candidate id changes the record after begin.
func (c *candidates) works(t *testing.T, id string, begin time.Time) {
	t.Helper()
	c.await(t, begin, 30*time.Second, id+" works", func(e event) bool { return e.Event == wrote && e.ID == id })
}
