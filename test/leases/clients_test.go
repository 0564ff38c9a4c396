package leases

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
)

// forAll calls do for 0 to n-1, by several clients at the same time.
func forAll(ctx context.Context, n, clients int, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range clients {
		group.Go(func() error {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := do(ctx, i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// keeper is a client that keeps its granted leases alive on one stream, as etcd's client does: each of them three times
// during its TTL.
type keeper struct {
	conn    *grpc.ClientConn
	ids     []int64
	granted []atomic.Bool
	ttl     time.Duration
	// answered counts the keep-alives; slowest is the longest time of one, in nanoseconds.
	answered *atomic.Int64
	slowest  *atomic.Int64
}

// tick is how often etcd's client looks for leases that are due.
const tick = 500 * time.Millisecond

// run sends keep-alives until ctx ends.
func (k keeper) run(ctx context.Context) error {
	streaming, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	stream, err := pb.NewLeaseClient(k.conn).LeaseKeepAlive(streaming)
	if err != nil {
		return err
	}
	sent := make(chan time.Time, len(k.ids)*4)
	var group errgroup.Group
	group.Go(func() error { return k.receive(stream, sent) })
	err = k.send(ctx, stream, sent)
	return errors.Join(err, stream.CloseSend(), group.Wait())
}

func (k keeper) send(ctx context.Context, stream pb.Lease_LeaseKeepAliveClient, sent chan<- time.Time) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	start := time.Now()
	for done := 0; ; {
		due := int(float64(len(k.ids)) * float64(time.Since(start)) / float64(k.ttl/3))
		for ; done < due; done++ {
			if !k.granted[done%len(k.ids)].Load() {
				continue
			}
			sent <- time.Now()
			if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: k.ids[done%len(k.ids)]}); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (k keeper) receive(stream pb.Lease_LeaseKeepAliveClient, sent <-chan time.Time) error {
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		took := int64(time.Since(<-sent))
		if resp.TTL <= 0 {
			return fmt.Errorf("lease %x expired although it was kept alive", resp.ID)
		}
		for took > k.slowest.Load() && !k.slowest.CompareAndSwap(k.slowest.Load(), took) {
			continue // another client was slower at the same time
		}
		k.answered.Add(1)
	}
}
