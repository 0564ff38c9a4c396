package crash

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
)

// Recorded is a history and the other observations of a run.
type Recorded struct {
	History
	// Kills counts the faults of the servers.
	Kills int
	// Restarts are the times from the start of a process until it was ready.
	Restarts []time.Duration
	// Faults are violations that were observed during the run.
	Faults []string

	leased []leasedKey
	onTime bool
	slack  time.Duration
	// started and stopped bound the time in which clients sent requests.
	started, stopped time.Duration
	servers          int
	holds, impaired  []interval
}

// Running is one run of a plan.
type Running struct {
	recorder
	plan    Plan
	victim  Victim
	streams []*stream
	conns   []*grpc.ClientConn
	// direct are the connections of Do, one to each server.
	direct []*grpc.ClientConn
	rand   *rand.Rand
	target atomic.Int64
	kills  int
	downs  []time.Duration

	windows  []Window
	recovery *Recovery
	// uncompacted is true while clients must not compact.
	uncompacted      atomic.Bool
	started, stopped time.Duration
	holds, impaired  []interval
}

// drainTimeout bounds how long leases and watchers may need at the end.
const drainTimeout = 60 * time.Second

// Run lets clients and watchers work during the plan's disturbance, and returns their record. An error means that the
// run could not be completed, for example because a server did not restart.
func Run(ctx context.Context, victim Victim, plan Plan) (*Recorded, error) {
	if plan.Disturb == nil {
		plan.Disturb = func(ctx context.Context, r *Running) error { return r.kill(ctx) }
	}
	r := &Running{plan: plan, victim: victim, rand: rand.New(rand.NewPCG(plan.Seed, 1<<63))}
	r.start, r.servers, r.ownLeases = time.Now(), len(victim.Targets()), !victim.ExpiresOnTime()
	defer r.close()
	if err := r.connect(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var watching errgroup.Group
	if err := r.watch(ctx, &watching); err != nil {
		return nil, err
	}
	if err := r.cut(ctx, 0); err != nil {
		return nil, err
	}
	stop := make(chan struct{})
	var working sync.WaitGroup
	r.started = r.now()
	for i, conn := range r.conns {
		g := newGenerator(i, plan.Seed)
		working.Go(func() { r.work(ctx, stop, g, conn, r.server(i), r.compactTo) })
	}
	err := plan.Disturb(ctx, r)
	r.stopped = r.now()
	if err != nil {
		// Clients may wait for a server that does not restart.
		cancel(err)
	}
	close(stop)
	working.Wait()
	if err == nil {
		if err = r.finish(ctx); err != nil {
			cancel(err)
		}
	}
	drain := time.AfterFunc(drainTimeout, func() { cancel(errors.New("a watcher did not receive all events in time")) })
	defer drain.Stop()
	if werr := watching.Wait(); err == nil {
		err = werr
	}
	return r.recorded(), err
}

func (r *Running) recorded() *Recorded {
	rec := &Recorded{
		History: History{Ops: r.ops, Windows: r.windows, Recovery: r.recovery},
		Kills:   r.kills, Restarts: r.downs, Faults: r.faults,
		leased: r.leased, onTime: r.victim.ExpiresOnTime(), slack: r.plan.ExpirySlack,
		started: r.started, stopped: r.stopped, servers: r.servers, holds: r.holds, impaired: r.impaired,
	}
	rec.Full = complete(r.streams[0].record, 1)
	for _, s := range r.streams {
		rec.Streams = append(rec.Streams, s.record)
	}
	return rec
}

func (r *Running) connect() error {
	for i := range r.plan.Clients {
		conn, err := r.dial(i)
		if err != nil {
			return err
		}
		r.conns = append(r.conns, conn)
	}
	for i := range r.servers {
		conn, err := r.dial(i)
		if err != nil {
			return err
		}
		r.direct = append(r.direct, conn)
	}
	return nil
}

// server returns the server of client i.
func (r *Running) server(i int) int { return i % len(r.victim.Targets()) }

func (r *Running) dial(i int) (*grpc.ClientConn, error) { return dial(r.victim.Targets()[r.server(i)]) }

func (r *Running) close() {
	for _, conn := range append(r.conns, r.direct...) {
		_ = conn.Close()
	}
	for _, s := range r.streams {
		for _, conn := range s.conns {
			_ = conn.Close()
		}
	}
}

// compactTo returns the highest revision that clients may compact: the complete watch must be past it.
func (r *Running) compactTo() int64 {
	if r.uncompacted.Load() {
		return 0
	}
	return r.streams[0].done.Load()
}

func (r *Running) watch(ctx context.Context, watching *errgroup.Group) error {
	r.streams = watchers()
	for _, s := range r.streams {
		s.move = r.plan.Move
	}
	moving := len(r.streams)
	if r.plan.Pin {
		r.streams = append(r.streams, pinned(r.servers)...)
	}
	for i, s := range r.streams {
		s.now, s.target = r.now, &r.target
		s.rand = rand.New(rand.NewPCG(r.plan.Seed, uint64(i)|1<<62))
		s.past = r.past
		for _, spec := range s.record.Watchers {
			s.next = append(s.next, spec.StartRevision)
		}
		servers := []int{i - moving}
		if i < moving {
			// Each stream begins with another server, and moves to the next one when it breaks.
			servers = nil
			for n := range r.servers {
				servers = append(servers, (i+n)%r.servers)
			}
		}
		s.servers = servers
		for _, server := range servers {
			conn, err := r.dial(server)
			if err != nil {
				return err
			}
			s.conns = append(s.conns, conn)
		}
	}
	for _, s := range r.streams {
		watching.Go(func() error { return s.run(ctx) })
	}
	return nil
}

// past returns the range of revisions at which a watch can begin.
func (r *Running) past() (oldest, newest int64) {
	newest = r.streams[0].done.Load()
	return max(1, newest-400), newest
}
