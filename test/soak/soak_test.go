//go:build soak

package soak

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"golang.org/x/sync/errgroup"

	"github.com/stele-db/stele/test/internal/connect"
	"github.com/stele-db/stele/test/internal/stele"
)

const (
	soakKeys     = 5000
	soakValue    = 1 << 10
	soakWriters  = 16
	soakWatchers = 20
	soakGroups   = 10
	// maxTTL is the longest TTL that grant requests.
	maxTTL       = 4 * time.Second
	compactEvery = 2 * time.Second
	retention    = 2 * time.Second
	cacheBytes   = 32 * mib
	// expirySlack is how much later than a put an expiry may take effect: see lateness.
	expirySlack = 3 * time.Second
	// memoryLimit is an absolute bound, a multiple of the value cache.
	memoryLimit = 350 * mib
)

// soak is the load on one server.
type soak struct {
	t      *testing.T
	server *stele.Server
	kv     pb.KVClient
	lease  pb.LeaseClient

	put, read, txn, lag latencies
	// late is the time from the expiry of keys to their deletion.
	late            latencies
	bytes           atomic.Int64
	revision        atomic.Int64
	leased, expired atomic.Int64
}

// TestSoak writes, reads, watches, leases and compacts for a while: memory and file size stay bounded, watchers keep
// up, leases expire.
func TestSoak(t *testing.T) {
	duration := durationFrom(t, "STELE_TEST_SOAK_DURATION", 45*time.Second)
	server := stele.Start(t, stele.Options{Args: []string{
		"--compact-retention", retention.String(), "--value-cache-bytes", fmt.Sprint(cacheBytes),
	}})
	conn := connect.GRPC(t, server.Target)
	s := &soak{t: t, server: server, kv: pb.NewKVClient(conn), lease: pb.NewLeaseClient(conn)}

	watching, stopWatching := context.WithCancel(t.Context())
	defer stopWatching()
	watchers, watchable := errgroup.WithContext(watching)
	done := make([]atomic.Int64, soakWatchers)
	for i := range soakWatchers {
		prefix := fmt.Sprintf("group-%d/", i%soakGroups)
		w := openWatch(watching, t, connect.GRPC(t, server.Target), &pb.WatchCreateRequest{
			Key: []byte(prefix), RangeEnd: rangeEnd(prefix), PrevKv: i%2 == 0,
		})
		watchers.Go(func() error { return s.watch(watchable, w, &done[i]) })
	}
	leases := openWatch(watching, t, conn, &pb.WatchCreateRequest{
		Key: []byte("lease/"), RangeEnd: rangeEnd("lease/"), PrevKv: true,
	})
	watchers.Go(func() error { return s.watchLeases(watchable, leases) })

	// This is not a deadline, because clients would send a deadline with every request, and the last ones would fail.
	load, stop := context.WithCancel(t.Context())
	defer stop()
	defer time.AfterFunc(duration, stop).Stop()
	var work errgroup.Group
	for i := range soakWriters {
		work.Go(func() error { return s.write(load, i) })
	}
	work.Go(func() error { return s.compact(load) })
	work.Go(func() error { return s.grant(load) })
	samples := s.sample(load)
	if err := work.Wait(); err != nil {
		t.Fatal(err)
	}
	last := s.revision.Load()
	t.Logf("%v: %d revisions (%.0f/s), %d MiB written", duration, last, float64(last)/duration.Seconds(),
		s.bytes.Load()/mib)
	t.Logf("put   %v", &s.put)
	t.Logf("txn   %v", &s.txn)
	t.Logf("range %v", &s.read)

	caughtUp := timed(func() { s.drain(done) })
	t.Logf("watch %v (write to event); all %d watchers had everything %v after the last write", &s.lag,
		soakWatchers, caughtUp)
	eventually(t, maxTTL+s.lateness(), "all leased keys expired, or a watcher failed", func() bool {
		return s.expired.Load() == s.leased.Load() || watchable.Err() != nil
	})
	t.Logf("leases: %d keys, %d expired; after the TTL %v", s.leased.Load(), s.expired.Load(), &s.late)
	stopWatching()
	if err := watchers.Wait(); err != nil {
		t.Error(err)
	}
	if late := s.late.max(); late > s.lateness() {
		t.Errorf("a key expired %v after its TTL, want at most %v", late, s.lateness())
	}
	s.judge(samples)
	s.survivesRestart()
}

func rangeEnd(prefix string) []byte {
	end := []byte(prefix)
	end[len(end)-1]++
	return end
}

func soakKey(i int) []byte { return fmt.Appendf(nil, "group-%d/key-%05d", i%soakGroups, i) }

// stamp returns a value that begins with the time of its write.
func stamp(r *rand.Rand) []byte {
	v := make([]byte, soakValue/2+r.IntN(soakValue))
	binary.BigEndian.PutUint64(v, uint64(time.Now().UnixNano()))
	return v
}

// write sends the requests of one client until ctx ends.
func (s *soak) write(ctx context.Context, client int) error {
	r := rand.New(rand.NewPCG(1, uint64(client)))
	for ctx.Err() == nil {
		var err error
		start := time.Now()
		switch n := r.IntN(100); {
		case n < 60:
			var resp *pb.PutResponse
			value := stamp(r)
			if resp, err = s.kv.Put(ctx, &pb.PutRequest{Key: soakKey(r.IntN(soakKeys)), Value: value}); err == nil {
				s.note(resp.Header.Revision, len(value))
				s.put.add(time.Since(start))
			}
		case n < 75:
			err = s.update(ctx, r, start)
		case n < 80:
			var resp *pb.DeleteRangeResponse
			if resp, err = s.kv.DeleteRange(ctx, &pb.DeleteRangeRequest{Key: soakKey(r.IntN(soakKeys))}); err == nil {
				s.note(resp.Header.Revision, 0)
			}
		case n < 99:
			_, err = s.kv.Range(ctx, &pb.RangeRequest{Key: soakKey(r.IntN(soakKeys))})
			s.read.add(time.Since(start))
		default:
			prefix := fmt.Sprintf("group-%d/", r.IntN(soakGroups))
			_, err = s.kv.Range(ctx, &pb.RangeRequest{Key: []byte(prefix), RangeEnd: rangeEnd(prefix), Limit: 100})
		}
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("client %d: %w", client, err)
		}
	}
	return nil
}

// update makes a read and a conditional write, as Kubernetes does.
func (s *soak) update(ctx context.Context, r *rand.Rand, start time.Time) error {
	key := soakKey(r.IntN(soakKeys))
	old, err := s.kv.Range(ctx, &pb.RangeRequest{Key: key})
	if err != nil {
		return err
	}
	var mod int64
	if len(old.Kvs) > 0 {
		mod = old.Kvs[0].ModRevision
	}
	value := stamp(r)
	resp, err := s.kv.Txn(ctx, &pb.TxnRequest{
		Compare: []*pb.Compare{
			{Key: key, Target: pb.Compare_MOD, TargetUnion: &pb.Compare_ModRevision{ModRevision: mod}},
		},
		Success: []*pb.RequestOp{
			{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: key, Value: value}}},
		},
		Failure: []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: key}}}},
	})
	if err != nil {
		return err
	}
	s.note(resp.Header.Revision, len(value))
	s.txn.add(time.Since(start))
	return nil
}

func (s *soak) note(rev int64, size int) {
	s.bytes.Add(int64(size))
	for {
		old := s.revision.Load()
		if rev <= old || s.revision.CompareAndSwap(old, rev) {
			return
		}
	}
}

// compact periodically compacts all but the last thousand revisions.
func (s *soak) compact(ctx context.Context) error {
	tick := time.NewTicker(compactEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		target := s.revision.Load() - 1000
		if target < 2 {
			continue
		}
		if _, err := s.kv.Compact(ctx, &pb.CompactionRequest{Revision: target}); err != nil && ctx.Err() == nil {
			return fmt.Errorf("compact %d: %w", target, err)
		}
	}
}

// grant writes fifty leased keys a second.
func (s *soak) grant(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		lease, err := s.lease.LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: 2 + int64(n%3)})
		if err == nil {
			value := binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixNano()))
			value = binary.BigEndian.AppendUint64(value, uint64(lease.TTL))
			s.leased.Add(1)
			start := time.Now()
			// The outcome of the put must not be unknown.
			_, err = s.kv.Put(context.WithoutCancel(ctx), &pb.PutRequest{
				Key: fmt.Appendf(nil, "lease/%06d", n), Value: value, Lease: lease.ID,
			})
			if err != nil {
				return fmt.Errorf("put with lease: %w", err)
			}
			s.put.add(time.Since(start))
		} else if ctx.Err() == nil {
			return fmt.Errorf("grant: %w", err)
		}
	}
}

// watch checks the order of events and measures their delay.
func (s *soak) watch(ctx context.Context, w pb.Watch_WatchClient, done *atomic.Int64) error {
	var last int64
	for {
		resp, err := w.Recv()
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the run is over
		case err != nil:
			return fmt.Errorf("watch: %w", err)
		case resp.Canceled:
			return fmt.Errorf("watch canceled, compacted at %d after revision %d: it did not keep up",
				resp.CompactRevision, last)
		}
		for _, e := range resp.Events {
			if e.Kv.ModRevision < last {
				return fmt.Errorf("revision %d after %d", e.Kv.ModRevision, last)
			}
			last = e.Kv.ModRevision
			if e.Type == mvccpb.Event_PUT {
				s.lag.add(time.Duration(time.Now().UnixNano() - int64(binary.BigEndian.Uint64(e.Kv.Value))))
			}
		}
		done.Store(max(last, done.Load()))
	}
}

// lateness bounds the time from the expiry of a key to its event. The put, the expiry and the event take as long as
// others of this run, which depends on the load of the machine.
func (s *soak) lateness() time.Duration { return expirySlack + 2*s.put.max() + s.lag.max() }

// watchLeases checks that leased keys are not deleted early, and measures how late they are deleted.
func (s *soak) watchLeases(ctx context.Context, w pb.Watch_WatchClient) error {
	for {
		resp, err := w.Recv()
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the run is over
		case err != nil:
			return fmt.Errorf("watch of leased keys: %w", err)
		case resp.Canceled:
			return fmt.Errorf("watch of leased keys canceled, compacted at %d", resp.CompactRevision)
		}
		for _, e := range resp.Events {
			if e.Type != mvccpb.Event_DELETE {
				continue
			}
			s.expired.Add(1)
			if e.PrevKv == nil {
				return fmt.Errorf("%q expired without prev_kv", e.Kv.Key)
			}
			written := time.Unix(0, int64(binary.BigEndian.Uint64(e.PrevKv.Value)))
			ttl := time.Duration(binary.BigEndian.Uint64(e.PrevKv.Value[8:])) * time.Second
			age := time.Since(written)
			if age < ttl {
				return fmt.Errorf("%q with a TTL of %v expired after %v", e.Kv.Key, ttl, age)
			}
			s.late.add(age - ttl)
		}
	}
}

// drain writes one more key in every group and waits until all watchers have received theirs.
func (s *soak) drain(done []atomic.Int64) {
	goal := make([]int64, soakGroups)
	r := rand.New(rand.NewPCG(2, 2))
	for g := range goal {
		resp, err := s.kv.Put(s.t.Context(), &pb.PutRequest{Key: soakKey(g), Value: stamp(r)})
		if err != nil {
			s.t.Fatal(err)
		}
		goal[g] = resp.Header.Revision
	}
	eventually(s.t, 10*time.Second, "watchers keep up", func() bool {
		for i := range done {
			if done[i].Load() < goal[i%soakGroups] {
				return false
			}
		}
		return true
	})
}

// sampled is the state of the server at one moment.
type sampled struct{ memory, db, wal int64 }

func (s *soak) sample(ctx context.Context) []sampled {
	var all []sampled
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return all
		case <-tick.C:
			db, wal := fileSizes(s.t, s.server)
			all = append(all, sampled{memory: rss(s.t, s.server), db: db, wal: wal})
		}
	}
}

// judge compares the last third of the run with the middle one, which shows name grows with the number of revisions.
func (s *soak) judge(samples []sampled) {
	third := len(samples) / 3
	top := func(part []sampled) (top sampled) {
		for _, p := range part {
			top.memory, top.db, top.wal = max(top.memory, p.memory), max(top.db, p.db), max(top.wal, p.wal)
		}
		return top
	}
	first, middle, last := top(samples[:third]), top(samples[third:2*third]), top(samples[2*third:])
	s.t.Logf("resident, highest in each third: %d, %d, %d MiB", first.memory/mib, middle.memory/mib, last.memory/mib)
	s.t.Logf("database, highest in each third: %d, %d, %d MiB", first.db/mib, middle.db/mib, last.db/mib)
	s.t.Logf("write-ahead log, highest in each third: %d, %d, %d MiB", first.wal/mib, middle.wal/mib, last.wal/mib)
	if last.memory > memoryLimit {
		s.t.Errorf("%d bytes resident, want at most %d", last.memory, memoryLimit)
	}
	bounded := func(name string, middle, last int64) {
		if last > middle*5/4+16*mib {
			s.t.Errorf("%s grows: %d bytes in the middle of the run, %d at its end", name, middle, last)
		}
	}
	bounded("memory", middle.memory, last.memory)
	bounded("the database", middle.db, last.db)
	bounded("the write-ahead log", middle.wal, last.wal)
	if wrote := s.bytes.Load(); last.db > wrote/2 && wrote > 200*mib {
		s.t.Errorf("the database has %d bytes after %d were written: compaction gives nothing back", last.db, wrote)
	}
}

// survivesRestart compares everything before and after a SIGKILL.
func (s *soak) survivesRestart() {
	all := &pb.RangeRequest{Key: []byte("group-"), RangeEnd: []byte("group.")}
	before, err := s.kv.Range(s.t.Context(), all)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.server.Kill(); err != nil {
		s.t.Fatal(err)
	}
	if err := s.server.Launch(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	after, err := pb.NewKVClient(connect.GRPC(s.t, s.server.Target)).Range(s.t.Context(), all)
	if err != nil {
		s.t.Fatal(err)
	}
	if len(before.Kvs) != len(after.Kvs) {
		s.t.Fatalf("%d keys before the restart, %d after", len(before.Kvs), len(after.Kvs))
	}
	for i, kv := range before.Kvs {
		if got := after.Kvs[i]; !bytes.Equal(got.Key, kv.Key) || !bytes.Equal(got.Value, kv.Value) ||
			got.ModRevision != kv.ModRevision {
			s.t.Fatalf("%q differs after the restart", kv.Key)
		}
	}
}
