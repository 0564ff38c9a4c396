package main

import (
	"errors"
	"fmt"
	"time"
)

// settings are the values of the flags.
type settings struct {
	// dir is the parent of the run's directory; empty means the first of the usual places that is on a disk.
	dir string
	// source is the root of Stele's source tree; binary, if set, is run instead of building it.
	source, binary string
	// baseline, if set, is another build of Stele, which runs together with each Stele that is alone on its database.
	baseline string
	// rounds is the number of rounds in which every workload runs on every server.
	rounds int
	// warmup precedes the measured duration; settle follows it, so that a server's background work is charged to that
	// server.
	warmup, duration, settle time.Duration
	// connections is the number of connections to a server, which all clients share.
	connections int
	// objects is the number of objects that are stored before the measurement; large, if not 0, is the number in a
	// second set for list and count workloads.
	objects, large int
	// watchers is the size of the crowd, for the workloads that need one; 0 omits them.
	watchers int
	// watchRate is the number of writes per second of the watch latency workload.
	watchRate int
	// arrive is the time after the last write at which missing events count as lost.
	arrive time.Duration
	// restarts are the numbers of keys with which restarts are measured, instead of any workload.
	restarts []int
	// sweep adds workloads with other numbers of clients.
	sweep bool
	// syncWrites is the number of writes for the sync count; 0 omits it.
	syncWrites int
}

// The payload has the sizes of an object of Kubernetes in the store.
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

// quicken reduces s to a run of seconds per server, which shows that everything works but gives no figures to quote.
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
