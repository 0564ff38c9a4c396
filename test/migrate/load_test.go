package migrate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
)

// create, update and remove are the three transactions of Kubernetes' API server, and the only ones that kine supports.

func create(ctx context.Context, c *clientv3.Client, key, value string, lease clientv3.LeaseID) (int64, error) {
	res, err := c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, value, clientv3.WithLease(lease))).Commit()
	if err != nil || !res.Succeeded {
		return 0, err
	}
	return res.Header.Revision, nil
}

func update(ctx context.Context, c *clientv3.Client, key, value string, lease clientv3.LeaseID,
	revision int64) (int64, error) {
	res, err := c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).
		Then(clientv3.OpPut(key, value, clientv3.WithLease(lease))).Else(clientv3.OpGet(key)).Commit()
	if err != nil || !res.Succeeded {
		return 0, err
	}
	return res.Header.Revision, nil
}

func remove(ctx context.Context, c *clientv3.Client, key string, revision int64) error {
	_, err := c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).
		Then(clientv3.OpDelete(key)).Else(clientv3.OpGet(key)).Commit()
	return err
}

// noteCompaction records a compaction as the API server does, with the expected version. It returns the next version.
func noteCompaction(ctx context.Context, c *clientv3.Client, version, revision int64) (int64, error) {
	const key = "compact_rev_key"
	res, err := c.Txn(ctx).If(clientv3.Compare(clientv3.Version(key), "=", version)).
		Then(clientv3.OpPut(key, fmt.Sprint(revision))).Else(clientv3.OpGet(key)).Commit()
	if err != nil || !res.Succeeded {
		return version, err
	}
	return version + 1, nil
}

// load writes as the controllers of some clusters: it creates, updates and deletes objects, some of them with leases.
// Several clients compete for the same names, which leaves gaps where the database gives IDs to failed transactions.
func load(t *testing.T, c *clientv3.Client, rounds int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	lease, err := c.Grant(ctx, 3600)
	if err != nil {
		t.Fatal(err)
	}
	const clients = 8
	group, ctx := errgroup.WithContext(ctx)
	for n := range clients {
		group.Go(func() error {
			random := rand.New(rand.NewPCG(uint64(n), uint64(rounds)))
			for i := range rounds {
				id := clientv3.NoLease
				if random.IntN(4) == 0 {
					id = lease.ID
				}
				key := fmt.Sprintf("/registry/pods/ns-%d/pod-%02d", n, random.IntN(20))
				if i%5 == 0 { // the same for all clients
					key = fmt.Sprintf("/registry/leases/lease-%d", i/5)
				}
				if err := write(ctx, c, random, key, id); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

// write creates, updates or deletes a key, depending on its state.
func write(ctx context.Context, c *clientv3.Client, random *rand.Rand, key string, lease clientv3.LeaseID) error {
	res, err := c.Get(ctx, key)
	if err != nil {
		return err
	}
	value := fmt.Sprintf("%s %d %x", key, random.Int(), make([]byte, random.IntN(300)))
	switch {
	case len(res.Kvs) == 0:
		_, err = create(ctx, c, key, value, lease)
	case random.IntN(4) == 0:
		err = remove(ctx, c, key, res.Kvs[0].ModRevision)
	default:
		_, err = update(ctx, c, key, value, lease, res.Kvs[0].ModRevision)
	}
	return err
}

// history makes kine write a history with compactions.
func history(t *testing.T, c *clientv3.Client) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	// kine fills gaps only while a client watches.
	events := c.Watch(ctx, "/registry/", clientv3.WithPrefix())
	watching.Go(func() {
		for range events { // the events are compared later
		}
	})
	version := int64(0)
	for range 3 {
		load(t, c, 40)
		res, err := c.Get(ctx, "/registry/health")
		if err != nil {
			t.Fatal(err)
		}
		if version, err = noteCompaction(ctx, c, version, res.Header.Revision-100); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Compact(ctx, res.Header.Revision-100); err != nil {
			t.Fatal(err)
		}
	}
	if version != 3 {
		t.Fatalf("kine accepted %d of 3 records of compactions", version)
	}
	load(t, c, 40)
	if _, err := create(ctx, c, lastKey, "the end", clientv3.NoLease); err != nil {
		t.Fatal(err)
	}
}

// lastKey is the last key written.
const lastKey = "/registry/zz-last"
