package replicas

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/drivers/drivertest/database"
	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/stele"
)

// TestShared checks the tasks that all replicas perform on the same rows: expiring keys and compacting.
func TestShared(t *testing.T) {
	inParallel(t, func(t *testing.T, kind string) {
		list := start(t, 3, stele.Options{
			Endpoint: database.Shared(t, kind).DSN(t),
			// All replicas delete compacted rows immediately.
			Args: []string{"--compact-retention", "1ms"},
		})
		t.Run("expiry", func(t *testing.T) { expiry(t, list) })
		t.Run("compaction", func(t *testing.T) { compaction(t, list) })
	})
}

// expiry lets 1,000 keys expire that three replicas sweep: each key has one DELETE event, on each replica, and every
// revision has an event.
func expiry(t *testing.T, list replicas) {
	const keys, ttl = 1000, 4
	ctx := bounded(t)
	client := connect.Client(t, targets(list)...)
	lease, err := client.Grant(ctx, ttl)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var failed atomic.Int64
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < keys; i += 8 {
				if _, err := client.Put(ctx, fmt.Sprintf("ttl/%04d", i), "v",
					clientv3.WithLease(lease.ID)); err != nil {
					t.Errorf("put: %v", err)
					failed.Add(1)
					return
				}
			}
		})
	}
	wg.Wait()
	written := time.Now()
	first, err := client.Get(ctx, "ttl/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || failed.Load() > 0 {
		t.Fatal(err)
	}
	// On a slow machine the first keys may have expired already: the watch begins before all of them.
	deleted := make([]map[string]int64, len(list))
	for i, r := range list {
		wg.Go(func() {
			deleted[i] = map[string]int64{}
			for answer := range r.client.Watch(ctx, "ttl/", clientv3.WithPrefix(), clientv3.WithRev(1),
				clientv3.WithFilterPut()) {
				for _, ev := range answer.Events {
					if before, twice := deleted[i][string(ev.Kv.Key)]; twice {
						t.Errorf("%s: %s is deleted at revision %d and %d", r.name, ev.Kv.Key, before,
							ev.Kv.ModRevision)
					}
					deleted[i][string(ev.Kv.Key)] = ev.Kv.ModRevision
				}
				if len(deleted[i]) == keys {
					return
				}
			}
			t.Errorf("%s: %d keys were deleted, want %d", r.name, len(deleted[i]), keys)
		})
	}
	wg.Wait()
	took := time.Since(written)
	if t.Failed() {
		return
	}
	revisions := map[int64]bool{}
	for key, revision := range deleted[0] {
		revisions[revision] = true
		for i := range list {
			if deleted[i][key] != revision {
				t.Errorf("%s: %s is deleted at revision %d, on %s at %d", list[0].name, key, revision, list[i].name,
					deleted[i][key])
			}
		}
	}
	last, err := client.Get(ctx, "ttl/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	// Every revision after the last put belongs to a sweep.
	sweeps := last.Header.Revision - (1 + keys)
	if last.Count != 0 || sweeps != int64(len(revisions)) {
		t.Errorf("%d keys are left, and %d revisions were used for %d sweeps", last.Count, sweeps, len(revisions))
	}
	if took < (ttl-1)*time.Second || took > (ttl+15)*time.Second {
		t.Errorf("the last was deleted %v after it was written, with a TTL of %d s", took, ttl)
	}
	t.Logf("%d keys (%d there when all were written) deleted in %d revisions, the last %v after it was written", keys,
		first.Count, len(revisions), took.Round(time.Millisecond))
}

// compaction repeatedly requests the same compaction on all replicas at the same time. One of them compacts, the others
// report that it is compacted, and afterwards all answer alike.
func compaction(t *testing.T, list replicas) {
	ctx := bounded(t)
	client := connect.Client(t, targets(list)...)
	for range 10 {
		var revision int64
		for i := range 20 {
			r, err := client.Put(ctx, fmt.Sprintf("compact/%d", i%5), "v")
			if err != nil {
				t.Fatal(err)
			}
			revision = r.Header.Revision
		}
		revision -= 7
		var wg sync.WaitGroup
		var succeeded atomic.Int64
		for _, r := range list {
			wg.Go(func() {
				_, err := r.kv().Compact(ctx, &pb.CompactionRequest{Revision: revision, Physical: true})
				switch {
				case err == nil:
					succeeded.Add(1)
				case status.Code(err) != codes.OutOfRange ||
					status.Convert(err).Message() != status.Convert(rpctypes.ErrGRPCCompacted).Message():
					t.Errorf("%s: %v", r.name, err)
				}
			})
		}
		wg.Wait()
		if n := succeeded.Load(); n != 1 {
			t.Errorf("%d replicas report that they compacted at %d", n, revision)
		}
		hashes := map[uint32]bool{}
		for _, r := range list {
			// Linearizable reads see the compaction on every replica.
			if _, err := r.client.Get(ctx, "k"); err != nil {
				t.Fatal(err)
			}
			//nolint:errorlint // the client's errors are values
			if _, err := r.client.Get(ctx, "compact/1", clientv3.WithRev(revision-1)); err != rpctypes.ErrCompacted {
				t.Errorf("%s reads below the compact revision: %v", r.name, err)
			}
			h, err := pb.NewMaintenanceClient(r.conn).HashKV(ctx, &pb.HashKVRequest{})
			if err != nil {
				t.Fatal(err)
			}
			hashes[h.Hash] = true
			if h.CompactRevision != revision {
				t.Errorf("%s has compact revision %d, want %d", r.name, h.CompactRevision, revision)
			}
		}
		if len(hashes) != 1 {
			t.Errorf("the replicas have different hashes at compact revision %d: %v", revision, hashes)
		}
	}
	// A replica that starts now reads the same from the database.
	fresh := start(t, 1, stele.Options{Endpoint: list[0].Endpoint})[0]
	var want uint32
	for i, r := range []*replica{list[0], fresh} {
		h, err := pb.NewMaintenanceClient(r.conn).HashKV(ctx, &pb.HashKVRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			want = h.Hash
		} else if h.Hash != want {
			t.Errorf("a new replica has hash %d, want %d", h.Hash, want)
		}
	}
}
