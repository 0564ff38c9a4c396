package server

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/logstructured"
)

// expiring is a context whose deadline passes when done is closed.
type expiring struct {
	context.Context //nolint:containedctx // it is a context itself
	done            chan struct{}
}

func (e expiring) Done() <-chan struct{} { return e.done }

func (e expiring) Err() error {
	select {
	case <-e.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// expiringStream is a stream with such a context.
type expiringStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // the stream returns it
}

func (s expiringStream) Context() context.Context { return s.ctx }

// TestStatusAfterClientDeadline checks the status of streams, and of requests that wait, after their client's deadline.
// The server sets the deadline, because the client would answer itself after one of its own.
func TestStatusAfterClientDeadline(t *testing.T) {
	store, stop := startStoreOn(t, openLog(t), logstructured.Options{LeaseMode: logstructured.LeaseModeEtcd})
	t.Cleanup(stop)
	// If deadline is not nil, a request that begins has a deadline that passes when the channel is closed.
	var deadline atomic.Pointer[chan struct{}]
	limit := func(ctx context.Context) context.Context {
		if done := deadline.Load(); done != nil {
			return expiring{ctx, *done}
		}
		return ctx
	}
	r := serveStore(t, store, func(o *Options) {
		o.GRPCServer = grpc.NewServer(grpc.WaitForHandlers(true),
			grpc.UnaryInterceptor(func(
				ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler,
			) (any, error) {
				return handle(limit(ctx), req)
			}),
			grpc.StreamInterceptor(func(
				srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler,
			) error {
				return handle(srv, expiringStream{stream, limit(stream.Context())})
			}))
	})
	conn := r.dial(t)
	lock, election := v3lockpb.NewLockClient(conn), v3electionpb.NewElectionClient(conn)
	if _, err := lock.Lock(within(t), &v3lockpb.LockRequest{Name: key}); err != nil {
		t.Fatal(err)
	}
	if _, err := election.Campaign(within(t), &v3electionpb.CampaignRequest{Name: []byte("race")}); err != nil {
		t.Fatal(err)
	}
	for name, wait := range map[string]func(ctx context.Context) error{
		"Watch": func(ctx context.Context) error {
			stream, err := pb.NewWatchClient(conn).Watch(ctx)
			return receive(stream, err)
		},
		"LeaseKeepAlive": func(ctx context.Context) error {
			stream, err := pb.NewLeaseClient(conn).LeaseKeepAlive(ctx)
			return receive(stream, err)
		},
		"Observe": func(ctx context.Context) error {
			stream, err := election.Observe(ctx, &v3electionpb.LeaderRequest{Name: []byte("nobody")})
			return receive(stream, err)
		},
		"Campaign": func(ctx context.Context) error {
			_, err := election.Campaign(ctx, &v3electionpb.CampaignRequest{Name: []byte("race")})
			return err
		},
		"Lock": func(ctx context.Context) error {
			_, err := lock.Lock(ctx, &v3lockpb.LockRequest{Name: key})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			done := make(chan struct{})
			deadline.Store(&done)
			answer := make(chan error, 1)
			go func() { answer <- wait(within(t)) }()
			eventually(t, name+" waits", func() bool { return r.streams.len() == 1 })
			close(done)
			err := <-answer
			if err == nil {
				err = errors.New("no error")
			}
			sameStatus(t, err, status.FromContextError(context.DeadlineExceeded).Err())
		})
	}
}

// receive returns the error of the first response of a stream.
func receive[M any](stream interface{ Recv() (*M, error) }, err error) error {
	if err != nil {
		return err
	}
	_, err = stream.Recv()
	return err
}
