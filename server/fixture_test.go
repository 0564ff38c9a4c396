package server

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
	"github.com/stele-db/stele/server/transport"
)

// patience bounds every wait of a test.
const patience = 20 * time.Second

func quiet() *logrus.Entry {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return logrus.NewEntry(l)
}

// within returns a context that ends after patience, or with the test.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// newStore runs a store on a new database for as long as the test.
func newStore(t testing.TB) *logstructured.Store {
	t.Helper()
	store, stop := startStore(t)
	t.Cleanup(stop)
	return store
}

// startStore runs a store until stop is called.
func startStore(t testing.TB) (store *logstructured.Store, stop func()) {
	t.Helper()
	return startStoreOn(t, openLog(t), logstructured.Options{ProgressInterval: 200 * time.Millisecond})
}

// startStoreOn runs a store over log until stop is called.
func startStoreOn(t testing.TB, l log.Log, opts logstructured.Options) (store *logstructured.Store, stop func()) {
	t.Helper()
	opts.Logger = quiet()
	store, err := logstructured.Open(t.Context(), l, opts)
	if err != nil {
		t.Fatal(err)
	}
	// Not the test's context: it ends before cleanups run.
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- store.Run(ctx) }()
	return store, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("store: %v", err)
		}
	}
}

// running is a server under test.
type running struct {
	*Server
	store *logstructured.Store
	// stop ends Run and returns its error.
	stop func() error
}

func listen(t testing.TB, address string, certs *transport.Certificates) *transport.Listener {
	t.Helper()
	l, err := transport.Listen(t.Context(), address, certs)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// serve runs a server on a new store for as long as the test, on a free TCP port unless change says otherwise.
func serve(t testing.TB, change func(*Options)) *running {
	t.Helper()
	return serveStore(t, newStore(t), change)
}

func serveStore(t testing.TB, store *logstructured.Store, change func(*Options)) *running {
	t.Helper()
	opts := Options{Logger: quiet(), ShutdownTimeout: 10 * time.Second}
	registry := prometheus.NewRegistry()
	opts.Registerer, opts.Gatherer = registry, registry
	if change != nil {
		change(&opts)
	}
	if opts.Listeners == nil {
		opts.Listeners = []*transport.Listener{listen(t, "http://127.0.0.1:0", nil)}
	}
	s, err := New(store, opts)
	if err != nil {
		t.Fatal(err)
	}
	return run(t, s, store)
}

// run runs a server for as long as the test.
func run(t testing.TB, s *Server, store *logstructured.Store) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var result error
	go func() {
		defer close(done)
		result = s.Run(ctx)
	}()
	r := &running{Server: s, store: store, stop: func() error {
		cancel()
		select {
		case <-done:
			return result
		case <-time.After(2 * patience):
			t.Fatal("the server does not stop")
			return nil
		}
	}}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("server: %v", err)
		}
	})
	return r
}

// addr is where the first listener listens.
func (r *running) addr() net.Addr { return r.opts.Listeners[0].Addr() }

// dial returns a plain-text connection.
func (r *running) dial(t testing.TB) *grpc.ClientConn {
	t.Helper()
	target := r.addr().String()
	if r.addr().Network() == "unix" {
		target = "unix:" + target
	}
	return dial(t, "passthrough:///"+target, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, r.addr().Network(), r.addr().String())
		}))
}

func dial(t testing.TB, target string, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(target, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// newKV returns the KV service over a new store, without a network.
func newKV(t testing.TB) *kvServer {
	t.Helper()
	return &kvServer{member: newMember(newStore(t), &Options{}), maxRequestBytes: DefaultMaxRequestBytes,
		maxTxnOps: DefaultMaxTxnOps}
}

func put(t testing.TB, kv pb.KVServer, key, value string) *pb.PutResponse {
	t.Helper()
	resp, err := kv.Put(t.Context(), &pb.PutRequest{Key: []byte(key), Value: []byte(value)})
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// sameStatus compares the code and message of an error with etcd's.
func sameStatus(t testing.TB, got, want error) {
	t.Helper()
	g, w := status.Convert(got), status.Convert(want)
	if g.Code() != w.Code() || g.Message() != w.Message() {
		t.Errorf("got %v %q, want %v %q", g.Code(), g.Message(), w.Code(), w.Message())
	}
}

// opOf wraps a request as an operation of a transaction.
func opOf(r any) *pb.RequestOp {
	switch r := r.(type) {
	case *pb.RangeRequest:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: r}}
	case *pb.PutRequest:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: r}}
	case *pb.DeleteRangeRequest:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: r}}
	case *pb.TxnRequest:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: r}}
	default:
		return &pb.RequestOp{}
	}
}

func opsOf(rs ...any) []*pb.RequestOp {
	ops := make([]*pb.RequestOp, len(rs))
	for i, r := range rs {
		ops[i] = opOf(r)
	}
	return ops
}

func putOp(key string) *pb.PutRequest { return &pb.PutRequest{Key: []byte(key)} }

func delOp(key, end string) *pb.DeleteRangeRequest {
	return &pb.DeleteRangeRequest{Key: []byte(key), RangeEnd: []byte(end)}
}

// interruptedStream receives the messages of a RangeStream without a network, and calls a function after each.
type interruptedStream struct {
	pb.KV_RangeStreamServer
	t      testing.TB
	ctx    context.Context //nolint:containedctx // grpc's interface wants it
	onSend func()
	got    pb.RangeResponse
}

func (s *interruptedStream) Context() context.Context { return s.ctx }

func (s *interruptedStream) SendMsg(m any) error {
	proto.Merge(&s.got, m.(*pb.RangeStreamResponse).RangeResponse)
	s.onSend()
	return nil
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !holds(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// len returns the number of open streams.
func (s *streamSet) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.enders)
}
