package main

import (
	"errors"
	"fmt"
	"time"
)

// settings are what the flags say.
type settings struct {
	// dir is the parent of the run's directory; empty is the first of the usual places that is on a disk.
	dir string
	// source is the root of Stele's source tree; binary, if set, is run instead of building it.
	source, binary string
	// baseline, if set, is another build of Stele, which takes part beside each Stele that is alone on its database.
	baseline string
	// rounds is how often every workload runs on every server.
	rounds int
	// warmup precedes the measured duration; settle follows it, so that a server's background work is
	// charged to whom it belongs.
	warmup, duration, settle time.Duration
	// connections are shared by all clients of a server.
	connections int
	// objects are stored before anything is measured; large, if not 0, is a second set for the list and count
	// workloads that need many.
	objects, large int
	// watchers is the size of the crowd, for the workloads that need one; 0 leaves them out.
	watchers int
	// watchRate is the writes a second of the watch latency workload.
	watchRate int
	// arrive is how long events may come after the last write before they count as lost.
	arrive time.Duration
	// restarts are the numbers of keys with which restarts are measured, instead of any workload.
	restarts []int
	// sweep adds workloads with more numbers of clients.
	sweep bool
	// syncWrites is how many writes the sync count makes; 0 leaves it out.
	syncWrites int
}

// Payload: what an object of Kubernetes looks like from the store.
const (
	keySize   = 60
	valueSize = 1024
	listPage  = 500
)

func defaultSettings() settings {
	return settings{
		source:      "../..",
		rounds:      3,
		warmup:      300 * time.Millisecond,
		duration:    1500 * time.Millisecond,
		settle:      300 * time.Millisecond,
		connections: 8,
		objects:     10_000,
		watchRate:   500,
		arrive:      20 * time.Second,
		syncWrites:  200,
	}
}

// quicken cuts s to a run of seconds a server: enough to see that everything works, not enough to quote.
func (s *settings) quicken() {
	s.rounds = 1
	s.warmup = 100 * time.Millisecond
	s.duration = 400 * time.Millisecond
	s.settle = 100 * time.Millisecond
	s.objects = 2000
	s.syncWrites = 50
}

func (s *settings) validate() error {
	switch {
	case s.rounds < 1:
		return errors.New("at least one round is needed")
	case s.duration <= 0 || s.warmup < 0 || s.settle < 0:
		return errors.New("durations must be positive")
	case s.connections < 1:
		return errors.New("at least one connection is needed")
	case s.objects <= listPage:
		return fmt.Errorf("more than %d objects are needed", listPage)
	case s.large != 0 && s.large <= 10_000:
		return errors.New("the large set needs more than 10000 objects")
	case s.watchers < 0 || s.watchers%perCrowdStream != 0 || s.watchers >= 10_000_000:
		return fmt.Errorf("the number of watchers must be a multiple of %d below 10000000", perCrowdStream)
	case s.watchRate < 1:
		return errors.New("the watch rate must be positive")
	}
	return nil
}
