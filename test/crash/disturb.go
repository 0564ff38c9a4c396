package crash

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"
)

// windowLength is how long a window becomes while nothing else cuts it.
const windowLength = 3 * time.Second

// spell is a time and, if it is not of all, a server.
type spell struct {
	server   int
	from, to time.Duration
}

// kill ends and restarts servers until the plan is fulfilled. Every other time the clients wait for the restart, which
// cuts the history; in between they run into the closed port and the starting server.
func (r *Running) kill(ctx context.Context) error {
	for n := 0; !r.Enough(); n++ {
		if err := r.Between(ctx); err != nil {
			return err
		}
		i := n % r.servers
		again := func() error { return r.restart(ctx, i, n%2 == 1) }
		err := r.Sick(i, func() error {
			if err := r.victim.Kill(i); err != nil {
				return err
			}
			r.Happened()
			if n%2 == 1 {
				return r.Hold(again)
			}
			return again()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *Running) restart(ctx context.Context, i int, held bool) error {
	if held && r.servers > 1 {
		// The survivor answers for both before the other is back.
		if err := r.cut(ctx, (i+1)%r.servers); err != nil {
			return err
		}
	}
	launched := r.now()
	if err := r.victim.Launch(i); err != nil {
		return err
	}
	if err := r.victim.WaitReady(ctx, i); err != nil {
		return err
	}
	r.downs = append(r.downs, r.now()-launched)
	if held && r.servers == 1 {
		return r.cut(ctx, i)
	}
	return nil
}

// Enough tells that the plan is fulfilled.
func (r *Running) Enough() bool {
	spent := r.now()
	return spent >= 5*r.plan.Duration ||
		spent >= r.plan.Duration && r.kills >= r.plan.Kills && r.ackedWrites() >= r.plan.Writes
}

// Happened counts a fault.
func (r *Running) Happened() { r.kills++ }

// Between waits as long as the plan wants between two faults.
func (r *Running) Between(ctx context.Context) error {
	return Pause(ctx, r.plan.EveryMin+time.Duration(r.rand.Int64N(int64(r.plan.EveryMax-r.plan.EveryMin)+1)))
}

// Work lets the clients work for d and begins new windows through a server that is well.
func (r *Running) Work(ctx context.Context, d time.Duration, server int) error {
	for left := d; left > 0; left -= windowLength {
		if left < windowLength {
			return Pause(ctx, left)
		}
		if err := Pause(ctx, windowLength); err != nil {
			return err
		}
		if err := r.Cut(ctx, server); err != nil {
			return err
		}
	}
	return nil
}

// Hold calls do while no client has a request under way.
func (r *Running) Hold(do func() error) error {
	from := r.now()
	defer func() { r.holds = append(r.holds, spell{from: from, to: r.now()}) }()
	r.gate.Lock()
	defer r.gate.Unlock()
	return do()
}

// Cut begins a window: a server that is well reads everything in between all requests.
func (r *Running) Cut(ctx context.Context, server int) error {
	return r.Hold(func() error { return r.cut(ctx, server) })
}

// Sick calls do, during which a server need not answer.
func (r *Running) Sick(server int, do func() error) error {
	from := r.now()
	defer func() { r.sick = append(r.sick, spell{server, from, r.now()}) }()
	return do()
}

// Do sends a request to a server and records it, as one of the clients.
func (r *Running) Do(ctx context.Context, server int, request proto.Message) *Op {
	return r.do(ctx, r.direct[server], r.plan.Clients, server, request)
}
