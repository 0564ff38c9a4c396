package yurthub

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/openyurtio/openyurt/pkg/yurthub/storage"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/stele-db/stele/test/internal/target"
)

// TestHealth checks the health of the whole server on the client's connection, as yurthub does every 10 s.
func TestHealth(t *testing.T) {
	each(t, nil, func(t *testing.T, s *target.Target) {
		h := open(t, s)
		check := func(opts ...grpc.CallOption) (grpc_health_v1.HealthCheckResponse_ServingStatus, error) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			r, err := grpc_health_v1.NewHealthClient(h.client.ActiveConnection()).Check(ctx,
				&grpc_health_v1.HealthCheckRequest{}, opts...)
			return r.GetStatus(), err
		}
		serving := grpc_health_v1.HealthCheckResponse_SERVING
		if status, err := check(); err != nil || status != serving {
			t.Fatalf("health is %v, %v", status, err)
		}
		key, object := h.key(t, "nginx"), pod(t, "nginx", 1, 0)
		if err := h.Create(key, object); err != nil {
			t.Fatal(err)
		}
		if err := s.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if status, err := check(); err == nil {
			t.Fatalf("health of a killed server is %v", status)
		}
		if err := s.Process.Launch(t.Context()); err != nil {
			t.Fatal(err)
		}
		if status, err := check(grpc.WaitForReady(true)); err != nil || status != serving {
			t.Fatalf("health after a restart is %v, %v", status, err)
		}
		// yurthub's storage reconnects without a restart.
		var got []byte
		var err error
		for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
			if got, err = h.Get(key); err == nil || errors.Is(err, storage.ErrStorageNotFound) {
				break
			}
		}
		if err != nil || !bytes.Equal(got, object) {
			t.Fatalf("after a restart: %q, %v", got, err)
		}
	})
}
