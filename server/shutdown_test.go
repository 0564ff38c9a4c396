package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/server/transport"
)

// Every write that was acknowledged before or during a stop is stored, and no connection hangs.
func TestRequestsInFlightFinish(t *testing.T) {
	store := newStore(t)
	r := serveStore(t, store, nil)
	conn := r.dial(t)
	kv := pb.NewKVClient(conn)
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		written = map[string]bool{}
	)
	ctx := within(t)
	started := make(chan struct{}, 64)
	for w := range 16 {
		wg.Go(func() {
			for i := 0; ; i++ {
				k := fmt.Sprintf("%d/%d", w, i)
				if _, err := kv.Put(ctx, &pb.PutRequest{Key: []byte(k)}); err != nil {
					if code := status.Code(err); code != codes.Unavailable {
						t.Errorf("%s: %v", k, err)
					}
					return
				}
				mu.Lock()
				written[k] = true
				mu.Unlock()
				if i == 3 {
					started <- struct{}{}
				}
			}
		})
	}
	for range 16 {
		<-started
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	direct := &kvServer{member: newMember(store, &Options{})}
	all, err := direct.Range(ctx, &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, KeysOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range all.Kvs {
		delete(written, string(kv.Key))
	}
	if len(written) > 0 {
		t.Errorf("%d acknowledged writes are missing", len(written))
	}
	if _, err := net.Dial("tcp", r.addr().String()); err == nil {
		t.Error("the listener is open")
	}
}

// A stop waits for running handlers, and cancels them after the timeout.
func TestShutdownIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		bound time.Duration
		want  codes.Code
	}{
		"finishes": {patience, codes.OK},
		"cut off":  {50 * time.Millisecond, codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			entered, release := make(chan struct{}), make(chan struct{})
			store := newStore(t)
			s, err := New(store,
				Options{Logger: quiet(), Listeners: []*transport.Listener{listen(t, "127.0.0.1:0", nil)},
					ShutdownTimeout: c.bound})
			if err != nil {
				t.Fatal(err)
			}
			s.grpc.RegisterService(&grpc.ServiceDesc{ServiceName: "slow", HandlerType: (*any)(nil),
				Methods: []grpc.MethodDesc{{
					MethodName: "call",
					Handler: func(_ any, ctx context.Context, _ func(any) error, _ grpc.UnaryServerInterceptor) (any,
						error) {
						close(entered)
						select {
						case <-release:
							return &pb.PutResponse{}, nil
						case <-ctx.Done():
							return nil, ctx.Err()
						}
					},
				}}}, nil)
			r := run(t, s, store)
			conn := r.dial(t)
			answer := make(chan error, 1)
			go func() {
				answer <- conn.Invoke(within(t), "/slow/call", &pb.PutRequest{}, &pb.PutResponse{})
			}()
			<-entered
			stopped := make(chan error, 1)
			go func() { stopped <- r.stop() }()
			eventually(t, "the listener is closed", func() bool {
				probe, err := net.Dial("tcp", r.addr().String())
				if err == nil {
					_ = probe.Close()
				}
				return err != nil
			})
			if c.want == codes.OK {
				select {
				case err := <-stopped:
					t.Fatalf("the server did not wait: %v", err)
				case <-time.After(100 * time.Millisecond):
				}
				close(release)
			}
			if err := <-answer; status.Code(err) != c.want {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if err := <-stopped; err != nil {
				t.Error(err)
			}
		})
	}
}

// The health service reports a stop first. A stop does not wait for health watches.
func TestHealthService(t *testing.T) {
	r := serve(t, nil)
	client := healthpb.NewHealthClient(r.dial(t))
	resp, err := client.Check(within(t), &healthpb.HealthCheckRequest{})
	if err != nil || resp.Status != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("%v, %v", resp, err)
	}
	watch, err := client.Watch(within(t), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := watch.Recv(); err != nil || resp.Status != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("%v, %v", resp, err)
	}
	begin := time.Now()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > r.opts.ShutdownTimeout/2 {
		t.Errorf("it took %v", took)
	}
	for {
		resp, err := watch.Recv()
		if err != nil {
			sameStatus(t, err, rpctypes.ErrGRPCStopped)
			break
		}
		if resp.Status != healthpb.HealthCheckResponse_NOT_SERVING {
			t.Errorf("got %v", resp)
		}
	}
	check, err := r.health.Check(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil || check.Status != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("%v, %v", check, err)
	}
}

// Run returns if its context has already ended.
func TestStopBeforeServing(t *testing.T) {
	store := newStore(t)
	s, err := New(store, Options{Logger: quiet(), Listeners: []*transport.Listener{listen(t, "127.0.0.1:0", nil)}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := s.opts.Listeners[0].Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is open: %v", err)
	}
}

func TestInvalidOptionsAreRefused(t *testing.T) {
	store := newStore(t)
	l := listen(t, "127.0.0.1:0", nil)
	defer l.Close()
	for name, o := range map[string]Options{
		"no logger":             {Listeners: []*transport.Listener{l}},
		"no listener":           {Logger: quiet()},
		"negative request size": {Logger: quiet(), Listeners: []*transport.Listener{l}, MaxRequestBytes: -1},
		"request size over":     {Logger: quiet(), Listeners: []*transport.Listener{l}, MaxRequestBytes: 1 << 31},
		"negative operations":   {Logger: quiet(), Listeners: []*transport.Listener{l}, MaxTxnOps: -1},
	} {
		if _, err := New(store, o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
