package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
)

// Recorded is a history and what else a run showed.
type Recorded struct {
	History
	Kills int
	// Restarts are the times from the start of a process until it was ready.
	Restarts []time.Duration
	// Faults were seen while the run was under way.
	Faults []string
	leased []leasedKey
	onTime bool
}

// run is one run of a plan.
type run struct {
	recorder
	plan    Plan
	victim  Victim
	streams []*stream
	conns   []*grpc.ClientConn
	rand    *rand.Rand
	target  atomic.Int64
	kills   int
	downs   []time.Duration
	windows []Window
}

// drainTimeout bounds how long leases and watchers may need at the end.
const drainTimeout = 60 * time.Second

// Run kills and restarts the running victim while clients and watchers are at work, and returns what they saw. An error means that
// the run could not be completed, as when a server does not come back.
func Run(ctx context.Context, victim Victim, plan Plan) (*Recorded, error) {
	r := &run{plan: plan, victim: victim, rand: rand.New(rand.NewPCG(plan.Seed, 1<<63))}
	r.start, r.several = time.Now(), len(victim.Targets()) > 1
	defer r.close()
	for range plan.Clients {
		conn, err := r.dial(len(r.conns))
		if err != nil {
			return nil, err
		}
		r.conns = append(r.conns, conn)
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
	for i, conn := range r.conns {
		g := newGenerator(i, plan.Seed)
		working.Go(func() { r.work(ctx, stop, g, conn, r.server(i), r.compactTo) })
	}
	err := r.kill(ctx)
	close(stop)
	working.Wait()
	if err == nil {
		err = r.finish(ctx)
	}
	if err != nil {
		cancel(err)
	}
	drain := time.AfterFunc(drainTimeout, func() { cancel(errors.New("a watcher has not seen everything in time")) })
	defer drain.Stop()
	if werr := watching.Wait(); err == nil {
		err = werr
	}
	return r.recorded(), err
}

func (r *run) recorded() *Recorded {
	full := complete(r.streams[0].record)
	rec := &Recorded{History: History{Ops: r.ops, Full: full, Windows: r.windows}, Kills: r.kills, Restarts: r.downs, Faults: r.faults,
		leased: r.leased, onTime: r.victim.ExpiresOnTime()}
	for _, s := range r.streams {
		rec.Streams = append(rec.Streams, s.record)
	}
	return rec
}

// server is the one that client i talks to.
func (r *run) server(i int) int { return i % len(r.victim.Targets()) }

func (r *run) dial(i int) (*grpc.ClientConn, error) { return dial(r.victim.Targets()[r.server(i)]) }

func (r *run) close() {
	for _, conn := range r.conns {
		_ = conn.Close()
	}
	for _, s := range r.streams {
		for _, conn := range s.conns {
			_ = conn.Close()
		}
	}
}

// compactTo keeps compactions behind the complete watch.
func (r *run) compactTo() int64 { return r.streams[0].done.Load() }

func (r *run) watch(ctx context.Context, watching *errgroup.Group) error {
	r.streams = watchers()
	for i, s := range r.streams {
		s.now, s.target = r.now, &r.target
		s.rand = rand.New(rand.NewPCG(r.plan.Seed, uint64(i)|1<<62))
		s.past = r.past
		for _, spec := range s.record.Watchers {
			s.next = append(s.next, spec.StartRevision)
		}
		for server := range r.victim.Targets() {
			// Each stream begins with another server, and goes to the next one when it breaks.
			conn, err := r.dial(i + server)
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

// past is the part of the history that a watch can begin in.
func (r *run) past() (oldest, newest int64) {
	newest = r.streams[0].done.Load()
	return max(1, newest-400), newest
}

// kill ends and restarts servers until the plan is fulfilled. Every other time the clients wait for the restart, which cuts the
// history; in between they run into the closed port and the starting server.
func (r *run) kill(ctx context.Context) error {
	for n := 0; !r.enough(); n++ {
		pause := time.NewTimer(r.plan.EveryMin + time.Duration(r.rand.Int64N(int64(r.plan.EveryMax-r.plan.EveryMin)+1)))
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-pause.C:
		}
		i := n % len(r.victim.Targets())
		if err := r.victim.Kill(i); err != nil {
			return err
		}
		r.kills++
		held := n%2 == 1
		if held {
			r.gate.Lock()
		}
		err := r.restart(ctx, i, held)
		if held {
			r.gate.Unlock()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// enough tells that the run may end.
func (r *run) enough() bool {
	spent := r.now()
	return spent >= 5*r.plan.Duration ||
		spent >= r.plan.Duration && r.kills >= r.plan.Kills && r.ackedWrites() >= r.plan.Writes
}

func (r *run) restart(ctx context.Context, i int, held bool) error {
	if held && len(r.victim.Targets()) > 1 {
		// The survivor answers for both before the other is back.
		if err := r.cut(ctx, (i+1)%len(r.victim.Targets())); err != nil {
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
	if held && len(r.victim.Targets()) == 1 {
		return r.cut(ctx, i)
	}
	return nil
}

// cut begins a window: it reads everything in between all requests. The caller holds the gate, or no client has started.
func (r *run) cut(ctx context.Context, server int) error {
	conn, err := r.dial(server)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errors.New("no linearizable read in 30 s"))
	defer cancel()
	awaitServer(ctx, conn)
	op := r.do(ctx, conn, r.plan.Clients, server, &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}})
	if op.Outcome != Acked {
		return fmt.Errorf("read of everything after a restart: %w", op.Err)
	}
	compacted, err := compactRevision(ctx, conn)
	if err != nil {
		return fmt.Errorf("ask for the compact revision: %w", err)
	}
	now := r.now()
	if n := len(r.windows); n > 0 {
		r.windows[n-1].To = now
	}
	r.windows = append(r.windows, Window{From: now, To: forever, Rev: revision(op.Response), Compacted: compacted})
	return nil
}

// compactRevision learns it from the cancellation of a watch from revision 1; 0 is none. No client compacts revision 1.
func compactRevision(ctx context.Context, conn *grpc.ClientConn) (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := pb.NewWatchClient(conn).Watch(ctx)
	if err != nil {
		return 0, err
	}
	err = w.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
		CreateRequest: &pb.WatchCreateRequest{Key: []byte("none"), StartRevision: 1},
	}})
	if err != nil {
		return 0, err
	}
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	asking.Go(func() { requestProgress(ctx, w, 20*time.Millisecond, nil) })
	for {
		resp, err := w.Recv()
		switch {
		case err != nil:
			return 0, err
		case resp.Canceled:
			return resp.CompactRevision, nil
		case !resp.Created:
			return 0, nil
		}
	}
}

// finish waits for the leases to run out and tells the watchers how far they have to come.
func (r *run) finish(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, drainTimeout, errors.New("leased keys outlived the run"))
	defer cancel()
	conn, err := r.dial(0)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		op := r.do(ctx, conn, r.plan.Clients, 0, &pb.RangeRequest{
			Key: []byte(leasePrefix), RangeEnd: prefixEnd(leasePrefix), CountOnly: true,
		})
		if op.Outcome == Acked && op.Response.(*pb.RangeResponse).Count == 0 {
			break
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	last := r.do(ctx, conn, r.plan.Clients, 0, &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}})
	if last.Outcome != Acked {
		return fmt.Errorf("last read: %w", last.Err)
	}
	r.target.Store(revision(last.Response))
	return nil
}
