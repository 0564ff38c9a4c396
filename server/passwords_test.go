package server

import (
	"encoding/base64"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/server/auth"
	"github.com/stele-db/stele/server/transport"
)

// A bounded number of requests hash passwords at a time.
func TestPasswordHashingIsBounded(t *testing.T) {
	p := newPasswords()
	p.wait = patience
	bound := int32(p.queue.free)
	var running, most atomic.Int32
	var group sync.WaitGroup
	for range maxPasswordsOfClient {
		group.Go(func() {
			err := p.do(t.Context(), func() error {
				now := running.Add(1)
				defer running.Add(-1)
				for {
					before := most.Load()
					if now <= before || most.CompareAndSwap(before, now) {
						return nil
					}
				}
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if most.Load() > bound {
		t.Errorf("%d at once, at most %d should be", most.Load(), bound)
	}
}

// A request waits for a bounded time until it may hash a password, and is not evaluated afterwards. Requests without
// passwords do not wait.
func TestWaitForPasswordHashingIsBounded(t *testing.T) {
	store := newStore(t)
	listeners := []*transport.Listener{listen(t, "http://127.0.0.1:0", nil)}
	s, err := New(store, Options{Logger: quiet(), BcryptCost: 4, Listeners: listeners})
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, s, store)
	conn := r.dial(t)
	client := pb.NewAuthClient(conn)
	ctx := within(t)
	addRoot(ctx, t, client)
	if _, err := client.AuthEnable(ctx, &pb.AuthEnableRequest{}); err != nil {
		t.Fatal(err)
	}
	for s.passwords.queue.free > 0 {
		if err := s.passwords.queue.acquire(ctx, "other"); err != nil {
			t.Fatal(err)
		}
	}
	s.passwords.wait = time.Millisecond
	_, err = client.Authenticate(ctx, &pb.AuthenticateRequest{Name: auth.Root, Password: "secret"})
	if !errors.Is(rpctypes.Error(err), rpctypes.ErrTooManyRequests) {
		t.Errorf("without a place: %v", err)
	}
	_, err = pb.NewKVClient(conn).Put(ctx, &pb.PutRequest{Key: []byte("k")})
	if !errors.Is(rpctypes.Error(err), rpctypes.ErrUserEmpty) {
		t.Errorf("a put: %v", err)
	}
	s.passwords.queue.release()
	s.passwords.wait = patience
	if _, err := client.Authenticate(ctx, &pb.AuthenticateRequest{Name: auth.Root, Password: "secret"}); err != nil {
		t.Errorf("with a place: %v", err)
	}
}

// A hash that would occupy a processor for days is not stored.
func TestHashedPasswordOfHighCostIsRefused(t *testing.T) {
	r := serve(t, func(o *Options) { o.BcryptCost = 4 })
	client := pb.NewAuthClient(r.dial(t))
	ctx := within(t)
	addRoot(ctx, t, client)
	hash := "$2a$31$wVvHAxrPqzjKlmNyEoIuUe3Rz7WYtG9sQkD5bLcXfMhJnTpB0v1S2"
	_, err := client.UserChangePassword(ctx, &pb.AuthUserChangePasswordRequest{
		Name: auth.Root, HashedPassword: base64.StdEncoding.EncodeToString([]byte(hash)),
	})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("a hash of cost 31: %v", err)
	}
	if _, err := client.AuthEnable(ctx, &pb.AuthEnableRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Authenticate(ctx, &pb.AuthenticateRequest{Name: auth.Root, Password: "secret"}); err != nil {
		t.Errorf("with the password from before: %v", err)
	}
}
