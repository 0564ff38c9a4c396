package client_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/pkg/client"
)

// moody is a server that fails the given number of reads and all writes, and counts both.
type moody struct {
	pb.UnimplementedKVServer
	failures       int32
	ranges, writes atomic.Int32
}

func (m *moody) Range(context.Context, *pb.RangeRequest) (*pb.RangeResponse, error) {
	if m.ranges.Add(1) <= m.failures {
		return nil, status.Error(codes.Unavailable, "etcdserver: the database is unavailable")
	}
	return &pb.RangeResponse{}, nil
}

func (m *moody) Txn(context.Context, *pb.TxnRequest) (*pb.TxnResponse, error) {
	m.writes.Add(1)
	return nil, status.Error(codes.Unavailable,
		"etcdserver: the database did not confirm the write, which may have taken effect")
}

func (m *moody) Put(context.Context, *pb.PutRequest) (*pb.PutResponse, error) {
	m.writes.Add(1)
	return nil, status.Error(codes.Unavailable,
		"etcdserver: the database did not confirm the write, which may have taken effect")
}

// Compact breaks the connection during the write. The client must report that as a failure, and not retry the write.
func (m *moody) Compact(ctx context.Context, _ *pb.CompactionRequest) (*pb.CompactionResponse, error) {
	m.writes.Add(1)
	cut(ctx)
	<-ctx.Done()
	return nil, ctx.Err()
}

type cutKey struct{}

func cut(ctx context.Context) { ctx.Value(cutKey{}).(func())() }

func (m *moody) serve(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	recorder := &connections{Listener: l}
	s := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo,
		handler grpc.UnaryHandler) (any, error) {
		return handler(context.WithValue(ctx, cutKey{}, recorder.cut), req)
	}))
	pb.RegisterKVServer(s, m)
	go func() { _ = s.Serve(recorder) }()
	t.Cleanup(s.Stop)
	return "http://" + l.Addr().String()
}

// connections is a listener that can close the last connection that it accepted.
type connections struct {
	net.Listener
	last atomic.Pointer[net.Conn]
}

func (c *connections) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.last.Store(&conn)
	}
	return conn, err
}

func (c *connections) cut() { _ = (*c.last.Load()).Close() }

func TestReadsAreTriedAgainAndWritesAreNot(t *testing.T) {
	t.Parallel()
	m := &moody{failures: 2}
	c := connect(t, client.Config{Endpoints: []string{m.serve(t)}})
	if values, err := c.List(within(t), "k", 0); err != nil || len(values) > 0 || m.ranges.Load() != 3 {
		t.Errorf("list: %v, %v after %d attempts", values, err, m.ranges.Load())
	}
	for name, write := range map[string]func() error{
		"put":     func() error { return c.Put(within(t), "k", nil) },
		"create":  func() error { return c.Create(within(t), "k", nil) },
		"update":  func() error { return c.Update(within(t), "k", 1, nil) },
		"delete":  func() error { return c.Delete(within(t), "k", 1) },
		"compact": func() error { _, err := c.Compact(within(t), 1); return err },
	} {
		m.writes.Store(0)
		if err := write(); status.Code(err) != codes.Unavailable || m.writes.Load() != 1 {
			t.Errorf("%s: %v after %d attempts", name, err, m.writes.Load())
		}
	}
}

// A read that fails on one endpoint is retried on another one.
func TestReadsFindAnotherEndpoint(t *testing.T) {
	t.Parallel()
	bad, good := &moody{failures: 1 << 30}, &moody{}
	c := connect(t, client.Config{Endpoints: []string{bad.serve(t), good.serve(t), "http://127.0.0.1:1"}})
	for range 20 {
		if _, err := c.List(within(t), "k", 0); err != nil {
			t.Fatal(err)
		}
	}
	if good.ranges.Load() != 20 || bad.ranges.Load() == 0 {
		t.Errorf("%d answers of the good one, %d of the bad one", good.ranges.Load(), bad.ranges.Load())
	}
}
