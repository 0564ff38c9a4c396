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

// cut begins a window: it reads everything between all requests. The caller holds the gate, or no client has started.
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
		return fmt.Errorf("reading the compact revision: %w", err)
	}
	now := r.now()
	if n := len(r.windows); n > 0 {
		r.windows[n-1].To = now
	}
	r.windows = append(r.windows, Window{From: now, To: forever, Rev: revision(op.Response), Compacted: compacted})
	return nil
}

// compactRevision returns the compact revision, or 0, from the cancellation of a watch from revision 1. No client
// compacts revision 1.
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

// finish waits until all leases have expired and sets the watchers' target.
func (r *Running) finish(ctx context.Context) error {
	last, err := r.drain(ctx, 0)
	if err != nil {
		return err
	}
	r.target.Store(revision(last))
	return nil
}

// drain waits until all leases have expired, and returns the remaining keys.
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

// Settle returns all keys, through a healthy server, once all leases have expired and the complete watch has caught up.
// The caller holds the clients.
func (r *Running) Settle(ctx context.Context, server int) (*pb.RangeResponse, error) {
	last, err := r.drain(ctx, server)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, drainTimeout, errors.New("the complete watch did not catch up"))
	defer cancel()
	for r.streams[0].done.Load() < last.Header.Revision {
		if err := Pause(ctx, 20*time.Millisecond); err != nil {
			return nil, err
		}
	}
	return last, nil
}
