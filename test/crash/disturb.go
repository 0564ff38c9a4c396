package crash

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"
)

// windowLength is the length of a window that nothing else ends.
const windowLength = 3 * time.Second

// interval is a time and, unless it concerns all, a server.
type interval struct {
	server   int
	from, to time.Duration
}

// kill kills and restarts servers until the plan is fulfilled. Every other time the clients wait for the restart, which
// begins a window; otherwise they meet the closed port and the starting server.
func (r *Running) kill(ctx context.Context) error {
	for n := 0; !r.Enough(); n++ {
		if err := r.Between(ctx); err != nil {
			return err
		}
		i := n % r.servers
		again := func() error { return r.restart(ctx, i, n%2 == 1) }
		err := r.Impair(i, func() error {
			if err := r.victim.Kill(i); err != nil {
				return err
			}
			r.CountFault()
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
		// The survivor answers for both before the other has restarted.
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

// Enough reports whether the plan is fulfilled.
func (r *Running) Enough() bool {
	spent := r.now()
	return spent >= 5*r.plan.Duration ||
		spent >= r.plan.Duration && r.kills >= r.plan.Kills && r.ackedWrites() >= r.plan.Writes
}

// CountFault counts a fault.
func (r *Running) CountFault() { r.kills++ }

// Between waits between two faults, as long as the plan says.
func (r *Running) Between(ctx context.Context) error {
	return Pause(ctx, r.plan.EveryMin+time.Duration(r.rand.Int64N(int64(r.plan.EveryMax-r.plan.EveryMin)+1)))
}

// Work lets the clients work for d and begins new windows through a healthy server.
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

// Hold calls do while no client has a pending request.
func (r *Running) Hold(do func() error) error {
	from := r.now()
	defer func() { r.holds = append(r.holds, interval{from: from, to: r.now()}) }()
	r.gate.Lock()
	defer r.gate.Unlock()
	return do()
}

// Cut begins a window: a healthy server reads everything between all requests.
func (r *Running) Cut(ctx context.Context, server int) error {
	return r.Hold(func() error { return r.cut(ctx, server) })
}

// Impair calls do, during which the server may leave requests without an answer.
func (r *Running) Impair(server int, do func() error) error {
	from := r.now()
	defer func() { r.impaired = append(r.impaired, interval{server, from, r.now()}) }()
	return do()
}

// Do sends a request to a server and records it as that of an additional client.
func (r *Running) Do(ctx context.Context, server int, request proto.Message) *Op {
	return r.do(ctx, r.direct[server], r.plan.Clients, server, request)
}
