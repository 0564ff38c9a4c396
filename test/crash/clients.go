package crash

import (
	"context"
	"fmt"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
)

const (
	requestTimeout = 2 * time.Second
	maxMessage     = 64 << 20
)

// dial returns a connection that reconnects soon after its server has restarted. gRPC itself retries only requests that
// the server has not received.
func dial(target string) (*grpc.ClientConn, error) {
	return grpc.NewClient(target,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(maxMessage), grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay: 10 * time.Millisecond, Multiplier: 1.2, MaxDelay: 50 * time.Millisecond,
			},
			MinConnectTimeout: time.Second,
		}),
	)
}

// recorder collects the requests and answers of all clients of a run.
type recorder struct {
	start time.Time
	// servers is the number of servers.
	servers int
	// ownLeases is true if leases can be kept alive and revoked.
	ownLeases bool
	// gate is held for reading during every request, and for writing while a window begins.
	gate sync.RWMutex

	mu  sync.Mutex
	ops []*Op
	// cluster is the cluster ID that all headers must have.
	cluster uint64
	acked   int
	// compacted is the newest acknowledged compact revision.
	compacted int64
	leased    []leasedKey
	faults    []string
}

// leasedKey is a key that must expire.
type leasedKey struct {
	key string
	// granted is before the grant or the last keep-alive, called before the put, acked after it.
	granted, called, acked time.Duration
	ttl                    time.Duration
	acknowledged           bool
	// rev is the revision of the put, if it was acknowledged.
	rev int64
	// revoked is true if the lease was revoked or may have been.
	revoked bool
}

func (r *recorder) now() time.Duration { return time.Since(r.start) }

func (r *recorder) fault(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

// do sends a request and records its outcome.
func (r *recorder) do(ctx context.Context, conn *grpc.ClientConn, client, server int, request proto.Message) *Op {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	op := &Op{Client: client, Server: server, Request: request, Call: r.now()}
	response, err := send(ctx, conn, request)
	op.Return = r.now()
	op.Outcome = classify(err)
	op.Err = err
	var cluster uint64
	if op.Outcome == Acked {
		op.Response = response
		if cluster, op.Term, err = stripHeaders(response); err != nil {
			r.fault("%v", err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, op)
	if cluster != 0 && r.cluster != 0 && cluster != r.cluster {
		r.faults = append(r.faults, fmt.Sprintf("the cluster was %x before: %v", r.cluster, op))
	}
	r.cluster = max(r.cluster, cluster)
	if op.Outcome == Acked && changed(op.Response) {
		r.acked++
	}
	if c, ok := request.(*pb.CompactionRequest); ok && op.Outcome == Acked {
		r.compacted = max(r.compacted, c.Revision)
	}
	return op
}

func (r *recorder) compactRevision() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.compacted
}

func (r *recorder) ackedWrites() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.acked
}

func send(ctx context.Context, conn *grpc.ClientConn, request proto.Message) (proto.Message, error) {
	kv := pb.NewKVClient(conn)
	switch q := request.(type) {
	case *pb.RangeRequest:
		return kv.Range(ctx, q)
	case *pb.PutRequest:
		return kv.Put(ctx, q)
	case *pb.DeleteRangeRequest:
		return kv.DeleteRange(ctx, q)
	case *pb.TxnRequest:
		return kv.Txn(ctx, q)
	case *pb.CompactionRequest:
		return kv.Compact(ctx, q)
	case *pb.LeaseRevokeRequest:
		return pb.NewLeaseClient(conn).LeaseRevoke(ctx, q)
	default:
		return nil, fmt.Errorf("crash: no call for %T", request)
	}
}

// work sends requests until stop is closed.
func (r *recorder) work(ctx context.Context, stop <-chan struct{}, g *generator, conn *grpc.ClientConn, server int,
	compactTo func() int64) {
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		case <-ctx.Done():
			return
		default:
		}
		r.gate.RLock()
		var op *Op
		if g.client < r.servers && n%25 == 24 {
			op = r.leasedPut(ctx, g, conn, server)
		} else {
			op = r.do(ctx, conn, g.client, server, g.next(r.compactRevision(), compactTo()))
		}
		r.gate.RUnlock()
		if op != nil && op.Outcome == Acked {
			g.learn(op.Response)
		}
		if op == nil || op.Outcome == Unknown {
			// One unknown outcome per client and crash is enough: wait for the server with reads, which change nothing.
			awaitServer(ctx, conn)
		}
	}
}

// leasedPut writes a key that will expire. It returns nil if the grant failed.
func (r *recorder) leasedPut(ctx context.Context, g *generator, conn *grpc.ClientConn, server int) *Op {
	k := leasedKey{granted: r.now()}
	call, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	lease, err := pb.NewLeaseClient(conn).LeaseGrant(call, &pb.LeaseGrantRequest{TTL: 2 + g.rand.Int64N(2)})
	if err != nil {
		if classify(err) == Rejected {
			r.fault("lease grant: %v", err)
		}
		return nil
	}
	k.ttl = time.Duration(lease.TTL) * time.Second
	value := g.value()
	k.key = leasePrefix + string(value)
	op := r.do(ctx, conn, g.client, server, &pb.PutRequest{Key: []byte(k.key), Value: value, Lease: lease.ID})
	k.called, k.acked, k.acknowledged, k.rev = op.Call, op.Return, op.Outcome == Acked, revision(op.Response)
	if r.ownLeases && k.acknowledged {
		op = r.holdLease(ctx, g, conn, server, &k, lease.ID, op)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leased = append(r.leased, k)
	return op
}

// holdLease revokes a lease, keeps it alive, or leaves it unchanged. It returns the last operation.
func (r *recorder) holdLease(ctx context.Context, g *generator, conn *grpc.ClientConn, server int, k *leasedKey,
	id int64, op *Op) *Op {
	switch g.rand.IntN(3) {
	case 0:
		op = r.do(ctx, conn, g.client, server, &pb.LeaseRevokeRequest{ID: id})
		k.revoked = op.Outcome != Rejected
	case 1:
		begin := r.now()
		if ttl, err := keepAlive(ctx, conn, id); err == nil && ttl > 0 {
			k.granted = begin
		}
	}
	return op
}

// keepAlive sends one keep-alive for a lease.
func keepAlive(ctx context.Context, conn *grpc.ClientConn, id int64) (ttl int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stream, err := pb.NewLeaseClient(conn).LeaseKeepAlive(ctx)
	if err != nil {
		return 0, err
	}
	if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: id}); err != nil {
		return 0, err
	}
	resp, err := stream.Recv()
	return resp.GetTTL(), err
}

// awaitServer returns when a linearizable read has succeeded or ctx has ended.
func awaitServer(ctx context.Context, conn *grpc.ClientConn) {
	for ctx.Err() == nil {
		call, cancel := context.WithTimeout(ctx, requestTimeout)
		_, err := pb.NewKVClient(conn).Range(call, &pb.RangeRequest{Key: []byte("none")}, grpc.WaitForReady(true))
		cancel()
		if err == nil {
			return
		}
		// A server that cannot reach its database refuses immediately.
		_ = Pause(ctx, 20*time.Millisecond)
	}
}

// Pause returns nil after d, or the cause when ctx ended before.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
