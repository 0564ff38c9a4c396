package crash

import (
	"context"
	"time"
)

// Victim is what is killed: one server or several on the same data.
type Victim interface {
	// Targets are the addresses of the servers, for grpc.
	Targets() []string
	// Kill ends server i by SIGKILL and waits until it is gone.
	Kill(i int) error
	// Launch starts server i and returns without waiting until it serves.
	Launch(i int) error
	// WaitReady returns when server i serves.
	WaitReady(ctx context.Context, i int) error
	// ExpiresOnTime tells that a key with a lease lives for its TTL and not longer, restarts or not. An etcd gives
	// every lease a full TTL more after a restart.
	ExpiresOnTime() bool
}

// Plan says how a run goes. All fields up to Seed are required.
type Plan struct {
	// Duration is how long clients send requests; on a slow machine longer, up to five times, until there were so many
	// kills (or other faults) and acknowledged writes.
	Duration      time.Duration
	Kills, Writes int
	// Every bounds the time between two kills.
	EveryMin, EveryMax time.Duration
	// Clients is the number of concurrent clients, which the servers share evenly.
	Clients int
	// Seed makes the requests and the kills; what the machine makes of them differs all the same.
	Seed uint64

	// Disturb is what happens while clients and watchers are at work: they stop when it returns. nil kills one server
	// after the other.
	Disturb func(ctx context.Context, r *Running) error
	// Move is about how long a watch stream stays with one server; 0 is for as long as it works.
	Move time.Duration
	// Pin adds a watch stream to each server that stays with it.
	Pin bool
	// ExpirySlack is how late an expired key may be deleted, 0 is 6 s.
	ExpirySlack time.Duration
}
