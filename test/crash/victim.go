package crash

import (
	"context"
	"time"
)

// Victim is the system under test: one server or several on the same data.
type Victim interface {
	// Targets are the addresses of the servers, for grpc.
	Targets() []string
	// Kill ends server i by SIGKILL and waits until it is gone.
	Kill(i int) error
	// Launch starts server i and returns without waiting until it serves.
	Launch(i int) error
	// WaitReady returns when server i serves.
	WaitReady(ctx context.Context, i int) error
	// ExpiresOnTime reports whether a restart leaves the end of a lease unchanged. An etcd grants every lease its full
	// TTL again after a restart.
	ExpiresOnTime() bool
}

// Plan configures a run. All fields up to Seed are required.
type Plan struct {
	// Duration is how long clients send requests. On a slow machine it is extended, up to five times, until there were
	// enough kills (or other faults) and acknowledged writes.
	Duration      time.Duration
	Kills, Writes int
	// Every bounds the time between two kills.
	EveryMin, EveryMax time.Duration
	// Clients is the number of concurrent clients, which the servers share evenly.
	Clients int
	// Seed determines the requests and the kills, but not their timing.
	Seed uint64

	// Disturb runs while clients and watchers work: they stop when it returns. nil kills one server after the other.
	Disturb func(ctx context.Context, r *Running) error
	// Move is the approximate time that a watch stream stays with one server; 0 means until it breaks.
	Move time.Duration
	// Pin adds a watch stream to each server that stays with it.
	Pin bool
	// ExpirySlack is how late an expired key may be deleted; 0 means 6 s.
	ExpirySlack time.Duration
}
