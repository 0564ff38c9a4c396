package target

import (
	"context"
	"os"
	"strconv"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/stele"
)

// replicaCount returns STELE_TEST_REPLICAS.
func replicaCount(t testing.TB) int {
	t.Helper()
	text := os.Getenv("STELE_TEST_REPLICAS")
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("STELE_TEST_REPLICAS: %q is not a number of replicas", text)
	}
	return n
}

// replicas are several servers on one database.
type replicas []*stele.Server

// startReplicas starts n replicas. The first one starts first, so that it is called leader.
func startReplicas(t testing.TB, n int, args []string) *Target {
	t.Helper()
	endpoint := stele.Database(t, t.TempDir())
	subject := &Target{Name: "stele"}
	var servers replicas
	for range n {
		s := stele.New(t, stele.Options{Endpoint: endpoint, Args: args})
		servers = append(servers, s)
		subject.Addresses = append(subject.Addresses, s.Target)
		subject.replicas = append(subject.replicas, connect.GRPC(t, s.Target))
	}
	subject.Address, subject.Process = subject.Addresses[0], servers
	for _, part := range []replicas{servers[:1], servers[1:]} {
		if err := part.Launch(t.Context()); err != nil {
			t.Fatalf("start replicas: %v", err)
		}
	}
	return withConn(connect.RoundRobin(t, subject.Addresses,
		grpc.WithUnaryInterceptor(subject.unary), grpc.WithStreamInterceptor(subject.stream)), subject)
}

// Launch starts all replicas at the same time.
func (r replicas) Launch(ctx context.Context) error {
	return r.each(func(s *stele.Server) error { return s.Launch(ctx) })
}

// Kill kills all replicas.
func (r replicas) Kill() error { return r.each((*stele.Server).Kill) }

func (r replicas) each(do func(*stele.Server) error) error {
	var g errgroup.Group
	for _, s := range r {
		g.Go(func() error { return do(s) })
	}
	return g.Wait()
}

// Members returns the number of members in MemberList: replicas on a file do not register.
func (t *Target) Members() int {
	if len(t.replicas) > 1 && stele.Kind() == stele.SQLite {
		return 1
	}
	return max(len(t.replicas), 1)
}

// CatchUp returns once every replica has applied all previously acknowledged writes. A single server always has.
func (t *Target) CatchUp(ctx context.Context) error {
	var g errgroup.Group
	ctx = metadata.NewOutgoingContext(ctx, nil) // without a token
	for _, conn := range t.replicas {
		g.Go(func() error {
			// An empty txn is linearizable, and every client may send it.
			_, err := pb.NewKVClient(conn).Txn(ctx, &pb.TxnRequest{}, grpc.WaitForReady(true))
			return err
		})
	}
	return g.Wait()
}

// unary waits until replicas have caught up before a request whose answer may lag.
func (t *Target) unary(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn,
	call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if mayLag(req) {
		if err := t.CatchUp(ctx); err != nil {
			return err
		}
	}
	return call(ctx, method, req, reply, conn, opts...)
}

// stream does the same for messages on a stream.
func (t *Target) stream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string,
	open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := open(ctx, desc, conn, method, opts...)
	return &catchingUp{s, t}, err
}

type catchingUp struct {
	grpc.ClientStream
	target *Target
}

func (s *catchingUp) SendMsg(m any) error {
	if mayLag(m) {
		if err := s.target.CatchUp(s.Context()); err != nil {
			return err
		}
	}
	return s.ClientStream.SendMsg(m)
}

// mayLag reports whether a replica answers a request from its applied state, without reading from the database. With
// several replicas such an answer may be some milliseconds old, in data, compact revision or header. This is the only
// exception for several replicas: all other answers are compared unchanged.
func mayLag(m any) bool {
	switch r := m.(type) {
	case *pb.RangeRequest:
		// The data at a revision is equal on all replicas; the header and the compact revision may lag.
		return r.Serializable || r.Revision > 0
	case *pb.TxnRequest:
		return serializable(r)
	case *pb.WatchRequest:
		// As in etcd, a watcher is created at the revision of its replica. A progress request is linearizable.
		return r.GetProgressRequest() == nil
	case *pb.HashKVRequest:
		return r.Revision > 0
	case *pb.HashRequest, *pb.StatusRequest, *pb.AlarmRequest, *pb.LeaseGrantRequest:
		return true
	}
	return false
}

// serializable reports whether a transaction consists of serializable reads.
func serializable(r *pb.TxnRequest) bool {
	if len(r.Success)+len(r.Failure) == 0 {
		return false
	}
	for _, branch := range [][]*pb.RequestOp{r.Success, r.Failure} {
		for _, op := range branch {
			if q := op.GetRequestRange(); q == nil || !q.Serializable {
				return false
			}
		}
	}
	return true
}
