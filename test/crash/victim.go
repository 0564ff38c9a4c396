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
	// ExpiresOnTime tells that a key with a lease lives for its TTL and not longer, restarts or not. An etcd gives every lease
	// a full TTL more after a restart.
	ExpiresOnTime() bool
}

// Plan says how a run goes. All fields are required.
type Plan struct {
	// Duration is how long clients send requests; on a slow machine longer, up to five times, until there were so many kills and
	// acknowledged writes.
	Duration      time.Duration
	Kills, Writes int
	// Every bounds the time between two kills.
	EveryMin, EveryMax time.Duration
	// Clients is the number of concurrent clients.
	Clients int
	// Seed makes the requests and the kills; what the machine makes of them differs all the same.
	Seed uint64
}
