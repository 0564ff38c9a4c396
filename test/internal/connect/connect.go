// Package connect dials the servers under test.
package connect

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
)

// maxMessage lets clients send more than any server accepts, so that the server refuses it.
const maxMessage = 256 << 20

// GRPC returns a connection to target ("127.0.0.1:2379", "unix:///run/stele.sock") that is closed at the end of the
// test. It is plain text unless opts say otherwise.
func GRPC(t testing.TB, target string, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := dial(target, opts...)
	if err != nil {
		t.Fatalf("dial %s: %v", target, err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// RoundRobin returns a connection that sends each request to another one of the reachable targets, and waits while
// there is none. It is closed at the end of the test.
func RoundRobin(t testing.TB, targets []string, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	addresses := make([]resolver.Address, len(targets))
	for i, target := range targets {
		addresses[i].Addr = target
	}
	r := manual.NewBuilderWithScheme("replicas")
	r.InitialState(resolver.State{Addresses: addresses})
	conn, err := dial(r.Scheme()+":///all", append(opts,
		grpc.WithResolvers(r),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)),
	)...)
	if err != nil {
		t.Fatalf("dial %v: %v", targets, err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Client returns an etcd client that uses all targets in turn. It is closed at the end of the test.
func Client(t testing.TB, targets ...string) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{
		Endpoints:   targets,
		DialTimeout: 10 * time.Second,
		Logger:      zap.NewNop(),
	})
	if err != nil {
		t.Fatalf("etcd client of %v: %v", targets, err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// Ready waits until the health service of target answers SERVING, ctx ends or stopped is closed.
func Ready(ctx context.Context, target string, stopped <-chan struct{}, opts ...grpc.DialOption) error {
	conn, err := dial(target, opts...)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	client := grpc_health_v1.NewHealthClient(conn)
	var last error
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		r, err := check(ctx, client)
		switch {
		case err != nil:
			last = err
		case r == grpc_health_v1.HealthCheckResponse_SERVING:
			return nil
		default:
			last = fmt.Errorf("health is %v", r)
		}
		select {
		case <-stopped:
			return errors.New("the process ended before it was ready")
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w (last: %w)", ctx.Err(), last)
		case <-tick.C:
		}
		// Without this the connection would wait for its growing back-off although the server is ready.
		conn.ResetConnectBackoff()
	}
}

func check(ctx context.Context,
	client grpc_health_v1.HealthClient) (grpc_health_v1.HealthCheckResponse_ServingStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	r, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	return r.GetStatus(), err
}

func dial(target string, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	return grpc.NewClient(target, append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(maxMessage), grpc.MaxCallRecvMsgSize(maxMessage)),
	}, opts...)...)
}
