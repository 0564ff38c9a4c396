package crash

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// cut begins a window: it reads everything in between all requests. The caller holds the gate, or no client has
// started.
func (r *Running) cut(ctx context.Context, server int) error {
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
func (r *Running) finish(ctx context.Context) error {
	last, err := r.drain(ctx, 0)
	if err != nil {
		return err
	}
	r.target.Store(revision(last))
	return nil
}

// drain waits until all leases have run out, and returns everything that is left then.
func (r *Running) drain(ctx context.Context, server int) (*pb.RangeResponse, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, drainTimeout, errors.New("leased keys outlived the run"))
	defer cancel()
	for {
		op := r.Do(ctx, server, &pb.RangeRequest{
			Key: []byte(leasePrefix), RangeEnd: prefixEnd(leasePrefix), CountOnly: true,
		})
		if op.Outcome == Acked && op.Response.(*pb.RangeResponse).Count == 0 {
			break
		}
		if err := Pause(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
	}
	last := r.Do(ctx, server, &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}})
	if last.Outcome != Acked {
		return nil, fmt.Errorf("last read: %w", last.Err)
	}
	return last.Response.(*pb.RangeResponse), nil
}

// Settle returns everything that is in the store, through a server that is well, once all leases have run out and the
// complete watch has seen it. The caller holds the clients.
func (r *Running) Settle(ctx context.Context, server int) (*pb.RangeResponse, error) {
	last, err := r.drain(ctx, server)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, drainTimeout, errors.New("the complete watch does not come along"))
	defer cancel()
	for r.streams[0].done.Load() < last.Header.Revision {
		if err := Pause(ctx, 20*time.Millisecond); err != nil {
			return nil, err
		}
	}
	return last, nil
}
