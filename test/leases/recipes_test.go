package leases

import (
	"bytes"
	"context"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/process"
	"github.com/stele-db/stele/test/internal/stele"
)

// recipe is a use of leases that fails if leases with one TTL have one ID. It returns the error of its first failed
// request.
type recipe struct {
	name string
	run  func(ctx context.Context, client *clientv3.Client) error
}

// recipes are those of etcd's Go client, and the requests of other clients' recipes.
var recipes = []recipe{
	{"a mutex", withSession(func(ctx context.Context, s *concurrency.Session) error {
		return concurrency.NewMutex(s, "mutex").Lock(ctx)
	})},
	{"an attempt at a mutex", withSession(func(ctx context.Context, s *concurrency.Session) error {
		return concurrency.NewMutex(s, "attempt").TryLock(ctx)
	})},
	{"an election", withSession(func(ctx context.Context, s *concurrency.Session) error {
		return concurrency.NewElection(s, "election").Campaign(ctx, "candidate")
	})},
	// A registry of services that names each instance after its lease, in decimal (go-zero).
	{"a registry", withLease(func(ctx context.Context, client *clientv3.Client, lease clientv3.LeaseID) error {
		_, err := client.Put(ctx, decimal("registry/", lease), "10.0.0.7:80", clientv3.WithLease(lease))
		return err
	})},
	// An election that names each candidate after its lease, in decimal (the npm package etcd3).
	{"an election in decimal",
		withLease(func(ctx context.Context, client *clientv3.Client, lease clientv3.LeaseID) error {
			key := decimal("election/name/", lease)
			_, err := client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
				Then(clientv3.OpPut(key, "candidate", clientv3.WithLease(lease))).Else(clientv3.OpGet(key)).Commit()
			return err
		})},
	// Locks with keys of their own that rely on keep-alive and revocation (python-etcd3, etcd3gw).
	{"a keep-alive", withLease(func(ctx context.Context, client *clientv3.Client, lease clientv3.LeaseID) error {
		_, err := client.KeepAliveOnce(ctx, lease)
		return err
	})},
	{"a revocation", withLease(func(ctx context.Context, client *clientv3.Client, lease clientv3.LeaseID) error {
		_, err := client.Revoke(ctx, lease)
		return err
	})},
	{"a time to live", withLease(func(ctx context.Context, client *clientv3.Client, lease clientv3.LeaseID) error {
		_, err := client.TimeToLive(ctx, lease)
		return err
	})},
	{"a list", func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.Leases(ctx)
		return err
	}},
}

func withSession(use func(context.Context, *concurrency.Session) error) func(context.Context, *clientv3.Client) error {
	return func(ctx context.Context, client *clientv3.Client) error {
		session, err := concurrency.NewSession(client, concurrency.WithTTL(10), concurrency.WithContext(ctx))
		if err != nil {
			return err
		}
		defer session.Orphan()
		return use(ctx, session)
	}
}

func withLease(
	use func(context.Context, *clientv3.Client, clientv3.LeaseID) error,
) func(context.Context, *clientv3.Client) error {
	return func(ctx context.Context, client *clientv3.Client) error {
		granted, err := client.Grant(ctx, 10)
		if err != nil {
			return err
		}
		return use(ctx, client, granted.ID)
	}
}

// TestRecipes checks that all recipes work in lease mode etcd, and that mode ttl refuses each of them by name.
func TestRecipes(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"ttl", "etcd"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			client := connect.Client(t, stele.Start(t, stele.Options{Args: []string{"--lease-mode=" + mode}}).Target)
			for _, r := range recipes {
				t.Run(r.name, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
					defer cancel()
					checkMode(t, mode, r.run(ctx, client))
				})
			}
		})
	}
}

func checkMode(t *testing.T, mode string, err error) {
	t.Helper()
	if mode == "etcd" {
		if err != nil {
			t.Error(err)
		}
		return
	}
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "--lease-mode=etcd") {
		t.Errorf("%v, want FailedPrecondition that names --lease-mode=etcd", err)
	}
}

// TestMutexExcludes checks that no two of five goroutines are in one mutex: in mode ttl none of them enters it.
func TestMutexExcludes(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"ttl", "etcd"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			client := connect.Client(t, stele.Start(t, stele.Options{Args: []string{"--lease-mode=" + mode}}).Target)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var inside, entered, refused atomic.Int32
			var group errgroup.Group
			for range 5 {
				group.Go(func() error {
					return withSession(func(ctx context.Context, s *concurrency.Session) error {
						mutex := concurrency.NewMutex(s, "mutex")
						if err := mutex.Lock(ctx); err != nil {
							refused.Add(1)
							checkMode(t, mode, err)
							return nil
						}
						entered.Add(1)
						if n := inside.Add(1); n != 1 {
							t.Errorf("%d goroutines are in the mutex", n)
						}
						_, err := client.Put(ctx, "work", "done")
						inside.Add(-1)
						if err != nil {
							return err
						}
						return mutex.Unlock(ctx)
					})(ctx, client)
				})
			}
			if err := group.Wait(); err != nil {
				t.Fatal(err)
			}
			if mode == "ttl" && (entered.Load() != 0 || refused.Load() != 5) || mode == "etcd" && entered.Load() != 5 {
				t.Errorf("%d entered, %d were refused", entered.Load(), refused.Load())
			}
		})
	}
}

// TestEtcdctlLeases checks that etcdctl's lock and elect fail in mode ttl with the reason, and work in mode etcd.
func TestEtcdctlLeases(t *testing.T) {
	t.Parallel()
	etcdctl := process.Program{Name: "etcdctl", Package: "go.etcd.io/etcd/etcdctl/v3", Dir: "."}.Binary(t, t.TempDir())
	for _, mode := range []string{"ttl", "etcd"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			server := stele.Start(t, stele.Options{Args: []string{"--lease-mode=" + mode}})
			run := func(args ...string) (stderr string, err error) {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				var out bytes.Buffer
				cmd := exec.CommandContext(ctx, etcdctl, append([]string{"--endpoints=" + server.Target}, args...)...)
				cmd.Stderr = &out
				err = cmd.Run()
				return out.String(), err
			}
			lockErr, err := run("lock", "resource", "true")
			if mode == "etcd" {
				if err != nil {
					t.Errorf("lock: %v: %s", err, lockErr)
				}
				return
			}
			electErr, electFailed := run("elect", "election", "candidate")
			for _, text := range []string{lockErr, electErr} {
				if err == nil || electFailed == nil || !strings.Contains(text, "--lease-mode=etcd") {
					t.Errorf("lock: %v, elect: %v, want failures that name --lease-mode=etcd: %s", err,
						electFailed, text)
				}
			}
		})
	}
}

func decimal(prefix string, lease clientv3.LeaseID) string {
	return prefix + strconv.FormatInt(int64(lease), 10)
}
