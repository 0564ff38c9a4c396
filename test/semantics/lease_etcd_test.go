package semantics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/grpc/codes"

	"github.com/stele-db/stele/test/internal/target"
)

// TestLeaseModeEtcd runs the rules of mode etcd and those of both modes.
func TestLeaseModeEtcd(t *testing.T) {
	rules := slices.Concat(leaseRules, etcdLeaseRules, lockRules)
	if !target.Variant() {
		t.Run("etcd", func(t *testing.T) {
			t.Parallel()
			runAll(t, target.Reference(t), rules)
		})
	}
	t.Run("stele", func(t *testing.T) {
		t.Parallel()
		var args []string
		if !target.SubjectIsEtcd() {
			args = append(args, "--lease-mode=etcd")
		}
		runAll(t, target.Subject(t, args...), rules)
	})
}

// TestLeaseModeTTL checks that mode ttl refuses requests that rely on etcd's leases, and names the other mode.
func TestLeaseModeTTL(t *testing.T) {
	runAll(t, target.Stele(t), []rule{{"a lease is only a TTL", func(e *env) {
		const message = "stele: this server runs with --lease-mode=ttl, where a lease is only a TTL: it cannot be " +
			"chosen, kept alive, revoked or listed; locks, elections and service registries need --lease-mode=etcd"
		refused(e, codes.FailedPrecondition, message, func() (*pb.LeaseGrantResponse, error) {
			return e.Lease.LeaseGrant(e.ctx, &pb.LeaseGrantRequest{ID: 7, TTL: 100})
		})
		refused(e, codes.FailedPrecondition, message, func() (*pb.LeaseRevokeResponse, error) {
			return e.Lease.LeaseRevoke(e.ctx, &pb.LeaseRevokeRequest{ID: 100})
		})
		refused(e, codes.FailedPrecondition, message, func() (*pb.LeaseTimeToLiveResponse, error) {
			return e.Lease.LeaseTimeToLive(e.ctx, &pb.LeaseTimeToLiveRequest{ID: 100})
		})
		refused(e, codes.FailedPrecondition, message, func() (*pb.LeaseLeasesResponse, error) {
			return e.Lease.LeaseLeases(e.ctx, &pb.LeaseLeasesRequest{})
		})
		refused(e, codes.FailedPrecondition, message, func() (*pb.LeaseKeepAliveResponse, error) {
			stream := e.keepAlives()
			if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: 100}); err != nil {
				e.Fatal(err)
			}
			return stream.Recv()
		})
		refused(e, codes.FailedPrecondition, message, func() (*v3lockpb.LockResponse, error) {
			return v3lockpb.NewLockClient(e.Conn).Lock(e.ctx, &v3lockpb.LockRequest{Name: e.key("mutex")})
		})
		refused(e, codes.FailedPrecondition, message, func() (*v3electionpb.CampaignResponse, error) {
			return v3electionpb.NewElectionClient(e.Conn).Campaign(e.ctx, &v3electionpb.CampaignRequest{
				Name: e.key("election"),
			})
		})
	}}, {"a key named after its lease is refused and changes nothing", func(e *env) {
		const message = "stele: this server runs with --lease-mode=ttl, where all leases with the same TTL have the " +
			"same ID: a key that is named after its lease is not unique; locks, elections and service registries " +
			"need --lease-mode=etcd"
		before := e.revision()
		for _, name := range []string{"60", "3c", "3C"} {
			put := &pb.PutRequest{Key: e.key(name), Value: []byte("v"), Lease: 60}
			refused(e, codes.FailedPrecondition, message, func() (*pb.PutResponse, error) {
				return e.KV.Put(e.ctx, put)
			})
			for _, compare := range []*pb.Compare{
				{Key: put.Key, Target: pb.Compare_CREATE, TargetUnion: &pb.Compare_CreateRevision{}},
				{Key: e.key("other"), Target: pb.Compare_MOD, TargetUnion: &pb.Compare_ModRevision{}},
			} {
				refused(e, codes.FailedPrecondition, message, func() (*pb.TxnResponse, error) {
					return e.KV.Txn(e.ctx, &pb.TxnRequest{Compare: []*pb.Compare{compare}, Success: []*pb.RequestOp{
						{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: e.key("first")}}},
						{Request: &pb.RequestOp_RequestPut{RequestPut: put}},
					}})
				})
			}
		}
		equal(e, "revision", e.revision(), before)
	}}, {"an object of Kubernetes may be named like its TTL", func(e *env) {
		created, err := e.KV.Txn(e.ctx, &pb.TxnRequest{
			Compare: []*pb.Compare{
				{Key: e.key("3600"), Target: pb.Compare_MOD, TargetUnion: &pb.Compare_ModRevision{}},
			},
			Success: []*pb.RequestOp{
				{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: e.key("3600"), Lease: 3600}}},
			},
		})
		equal(e, "succeeded", must(e, created, err).Succeeded, true)
	}}})
}

func (e *env) keepAlives() pb.Lease_LeaseKeepAliveClient {
	e.Helper()
	stream, err := e.Lease.LeaseKeepAlive(e.ctx)
	return must(e, stream, err)
}

func (e *env) keepAlive(stream pb.Lease_LeaseKeepAliveClient, id int64) *pb.LeaseKeepAliveResponse {
	e.Helper()
	if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: id}); err != nil {
		e.Fatal(err)
	}
	a, err := stream.Recv()
	return must(e, a, err)
}

func (e *env) timeToLive(id int64) *pb.LeaseTimeToLiveResponse {
	e.Helper()
	a, err := e.Lease.LeaseTimeToLive(e.ctx, &pb.LeaseTimeToLiveRequest{ID: id, Keys: true})
	return must(e, a, err)
}

// keysOf returns the lease's keys without the rule's prefix, sorted: etcd returns them in no order.
func (e *env) keysOf(id int64) string {
	e.Helper()
	var keys []string
	for _, key := range e.timeToLive(id).Keys {
		keys = append(keys, strings.TrimPrefix(string(key), e.prefix))
	}
	slices.Sort(keys)
	return strings.Join(keys, " ")
}

func (e *env) leases() []int64 {
	e.Helper()
	a, err := e.Lease.LeaseLeases(e.ctx, &pb.LeaseLeasesRequest{})
	var ids []int64
	for _, l := range must(e, a, err).Leases {
		ids = append(ids, l.ID)
	}
	return ids
}

var etcdLeaseRules = []rule{
	{"the remaining TTL is always less than the whole", func(e *env) {
		for range 50 {
			id := e.grant(100).ID
			equal(e, "TTL just after the grant", e.timeToLive(id).TTL, 99)
		}
	}},
	{"leases are listed by expiry", func(e *env) {
		var granted []int64
		for range 50 {
			granted = append(granted, e.grant(5000).ID)
		}
		listed := slices.DeleteFunc(e.leases(), func(id int64) bool { return !slices.Contains(granted, id) })
		equal(e, "order", fmt.Sprint(listed), fmt.Sprint(granted))
	}},
	{"a grant takes the ID that it is given", func(e *env) {
		for _, id := range []int64{77, -78} {
			a, err := e.Lease.LeaseGrant(e.ctx, &pb.LeaseGrantRequest{ID: id, TTL: 100})
			equal(e, "ID", must(e, a, err).ID, id)
			refused(e, codes.FailedPrecondition, "etcdserver: lease already exists",
				func() (*pb.LeaseGrantResponse, error) {
					return e.Lease.LeaseGrant(e.ctx, &pb.LeaseGrantRequest{ID: id, TTL: 50})
				})
			equal(e, "granted TTL", e.timeToLive(id).GrantedTTL, 100)
		}
	}},
	{"an unknown lease is refused", func(e *env) {
		const none = 4711
		refused(e, codes.NotFound, "etcdserver: requested lease not found", func() (*pb.LeaseRevokeResponse, error) {
			return e.Lease.LeaseRevoke(e.ctx, &pb.LeaseRevokeRequest{ID: none})
		})
		refused(e, codes.NotFound, "etcdserver: requested lease not found", func() (*pb.PutResponse, error) {
			return e.KV.Put(e.ctx, &pb.PutRequest{Key: e.key("k"), Lease: none})
		})
		ttl := e.timeToLive(none)
		equal(e, "TTL", ttl.TTL, -1)
		equal(e, "granted TTL", ttl.GrantedTTL, 0)
		equal(e, "ID", ttl.ID, none)
		equal(e, "revision", ttl.Header.Revision, e.revision())
		kept := e.keepAlive(e.keepAlives(), none)
		equal(e, "TTL after keep-alive", kept.TTL, 0)
		equal(e, "ID", kept.ID, none)
		equal(e, "header", kept.Header.Revision, e.revision())
	}},
	{"a transaction with an unknown lease writes nothing", func(e *env) {
		refused(e, codes.NotFound, "etcdserver: requested lease not found", func() (*pb.TxnResponse, error) {
			return e.KV.Txn(e.ctx, &pb.TxnRequest{Success: []*pb.RequestOp{
				putOp(e.key("a"), "v"),
				{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: e.key("b"), Lease: 4711}}},
			}})
		})
		equal(e, "a", e.get("a") == nil, true)
	}},
	{"TimeToLive returns keys and the remaining time", func(e *env) {
		id := e.grant(500).ID
		before := e.revision()
		a := e.timeToLive(id)
		equal(e, "revision", a.Header.Revision, before)
		equal(e, "granted", a.GrantedTTL, 500)
		equal(e, "TTL", a.TTL >= 490 && a.TTL <= 500, true)
		equal(e, "keys", len(a.Keys), 0)
		e.putWith("b", id)
		e.putWith("a", id)
		equal(e, "keys", e.keysOf(id), "a b")
		without, err := e.Lease.LeaseTimeToLive(e.ctx, &pb.LeaseTimeToLiveRequest{ID: id})
		equal(e, "keys that were not requested", len(must(e, without, err).Keys), 0)
	}},
	{"a key belongs to the lease of its last put", func(e *env) {
		one, two := e.grant(500).ID, e.grant(500).ID
		for _, name := range []string{"moves", "detached", "deleted", "kept", "reborn"} {
			e.putWith(name, one)
		}
		e.putWith("moves", two)
		e.put("detached", "v")
		e.del("deleted")
		e.del("reborn")
		e.put("reborn", "v")
		a, err := e.KV.Put(e.ctx, &pb.PutRequest{Key: e.key("kept"), Value: []byte("w"), IgnoreLease: true})
		must(e, a, err)
		equal(e, "keys of the one", e.keysOf(one), "kept")
		equal(e, "keys of the other", e.keysOf(two), "moves")
		equal(e, "lease of the key", e.get("moves").Lease, two)
	}},
	{"a revocation deletes the keys in one revision", func(e *env) {
		s := e.watch()
		s.all(&pb.WatchCreateRequest{Filters: []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NOPUT}})
		id := e.grant(500).ID
		for _, name := range []string{"c", "a", "b"} {
			e.putWith(name, id)
		}
		before := e.revision()
		a, err := e.Lease.LeaseRevoke(e.ctx, &pb.LeaseRevokeRequest{ID: id})
		equal(e, "revision", must(e, a, err).Header.Revision, before+1)
		events := s.events(3)
		equal(e, "deleted", s.text(events), "DELETE a DELETE b DELETE c")
		for _, ev := range events {
			equal(e, "revision of the event", ev.Kv.ModRevision, before+1)
		}
		equal(e, "TTL", e.timeToLive(id).TTL, -1)
	}},
	{"a revocation without keys keeps the revision", func(e *env) {
		id := e.grant(500).ID
		before := e.revision()
		a, err := e.Lease.LeaseRevoke(e.ctx, &pb.LeaseRevokeRequest{ID: id})
		equal(e, "revision", must(e, a, err).Header.Revision, before)
		equal(e, "revision afterwards", e.revision(), before)
	}},
	{"the list has all leases, in the order of expiry", func(e *env) {
		late, early := e.grant(100_000).ID, e.grant(50_000).ID
		ids := e.leases()
		l, f := slices.Index(ids, late), slices.Index(ids, early)
		equal(e, "the order", f >= 0 && f < l, true)
		a, err := e.Lease.LeaseRevoke(e.ctx, &pb.LeaseRevokeRequest{ID: late})
		must(e, a, err)
		equal(e, "revoked", slices.Contains(e.leases(), late), false)
	}},
	{"keep-alives extend leases, and are answered in order", func(e *env) {
		s := e.watch()
		s.all(&pb.WatchCreateRequest{Filters: []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NOPUT}})
		var kept []int64
		for range 20 {
			kept = append(kept, e.grant(2).ID)
		}
		lost := e.grant(2).ID
		e.putWith("kept", kept[3])
		e.putWith("lost", lost)
		before := e.revision()
		stream := e.keepAlives()
		gone := time.After(6 * time.Second)
		for alive := true; alive; {
			for _, id := range kept {
				if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: id}); err != nil {
					e.Fatal(err)
				}
			}
			for _, id := range kept {
				a, err := stream.Recv()
				equal(e, "ID", must(e, a, err).ID, id)
				equal(e, "TTL", a.TTL, 2)
			}
			select {
			case <-gone:
				alive = false
			case <-time.After(100 * time.Millisecond):
			}
		}
		equal(e, "deleted", s.text(s.events(1)), "DELETE lost")
		equal(e, "revision", e.revision(), before+1)
		equal(e, "keys", e.keysOf(kept[3]), "kept")
		if err := stream.CloseSend(); err != nil {
			e.Fatal(err)
		}
		_, err := stream.Recv()
		equal(e, "the stream ends", errors.Is(err, io.EOF), true)
	}},
	{"keep-alives of a stream take effect in order", func(e *env) {
		// The answers show the order: puts raise the revision in the meantime, and every other lease does not exist.
		stream, lease := e.keepAlives(), e.grant(300).ID
		putting, stop := context.WithCancel(e.ctx)
		put := make(chan error, 1)
		go func() {
			var err error
			for putting.Err() == nil && err == nil {
				_, err = e.KV.Put(e.ctx, &pb.PutRequest{Key: e.key("meanwhile")})
			}
			put <- err
		}()
		const n = 1000
		sent := make(chan error, 1)
		go func() {
			for i := range int64(n) {
				if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: lease + i%2}); err != nil {
					sent <- err
					return
				}
			}
			sent <- stream.CloseSend()
		}()
		var before int64
		for i := range int64(n) {
			a, err := stream.Recv()
			equal(e, "ID", must(e, a, err).ID, lease+i%2)
			equal(e, "TTL", a.TTL, 300*(1-i%2))
			if a.Header.Revision < before {
				e.Fatalf("answer %d is of revision %d, after one of %d", i, a.Header.Revision, before)
			}
			before = a.Header.Revision
		}
		stop()
		equal(e, "sending", <-sent, nil)
		equal(e, "putting", <-put, nil)
	}},
	{"a keep-alive follows a revocation, and a revocation a keep-alive", func(e *env) {
		stream := e.keepAlives()
		for range 50 {
			id := e.grant(300).ID
			equal(e, "TTL", e.keepAlive(stream, id).TTL, 300)
			revoked, err := e.Lease.LeaseRevoke(e.ctx, &pb.LeaseRevokeRequest{ID: id})
			must(e, revoked, err)
			a := e.keepAlive(stream, id)
			equal(e, "TTL after the revocation", a.TTL, 0)
			equal(e, "ID", a.ID, id)
			equal(e, "the revision is that of the revocation or newer",
				a.Header.Revision >= revoked.Header.Revision, true)
		}
	}},
	{"leases survive a restart", func(e *env) {
		id := e.grant(300).ID
		short := e.grant(3).ID
		e.putWith("long", id)
		e.putWith("short", short)
		if err := e.Restart(e.ctx); err != nil {
			e.Fatal(err)
		}
		e.await(func() bool {
			_, err := e.KV.Range(e.ctx, &pb.RangeRequest{Key: e.key("long")})
			return err == nil
		})
		equal(e, "keys", e.keysOf(id), "long")
		e.await(func() bool { return e.get("short") == nil })
		equal(e, "the long one", e.get("long").Lease, id)
	}},
	{"sessions, mutexes, elections and STM of the client", func(e *env) {
		client := e.Client(e.T)
		sessions := make([]*concurrency.Session, 2)
		for i := range sessions {
			s, err := concurrency.NewSession(client, concurrency.WithTTL(5), concurrency.WithContext(e.ctx))
			sessions[i] = must(e, s, err)
			defer func() { _ = s.Close() }()
		}
		first, second := concurrency.NewMutex(sessions[0], e.prefix+"mutex"),
			concurrency.NewMutex(sessions[1], e.prefix+"mutex")
		if err := first.Lock(e.ctx); err != nil {
			e.Fatal(err)
		}
		equal(e, "a second TryLock", second.TryLock(e.ctx), concurrency.ErrLocked)
		if err := first.Unlock(e.ctx); err != nil {
			e.Fatal(err)
		}
		if err := second.Lock(e.ctx); err != nil {
			e.Fatal(err)
		}
		one, two := concurrency.NewElection(sessions[0], e.prefix+"election"),
			concurrency.NewElection(sessions[1], e.prefix+"election")
		if err := one.Campaign(e.ctx, "one"); err != nil {
			e.Fatal(err)
		}
		elected := make(chan error, 1)
		go func() { elected <- two.Campaign(e.ctx, "two") }()
		leader, err := two.Leader(e.ctx)
		equal(e, "leader", string(must(e, leader, err).Kvs[0].Value), "one")
		// Closing a session revokes its lease, which deletes its keys.
		if err := sessions[0].Close(); err != nil {
			e.Fatal(err)
		}
		if err := <-elected; err != nil {
			e.Fatal(err)
		}
		leader, err = two.Leader(e.ctx)
		equal(e, "leader", string(must(e, leader, err).Kvs[0].Value), "two")

		counter := e.prefix + "counter"
		done := make(chan error, 4)
		for range cap(done) {
			go func() {
				var err error
				for n := 0; n < 10 && err == nil; n++ {
					_, err = concurrency.NewSTM(client, func(s concurrency.STM) error {
						s.Put(counter, s.Get(counter)+"x")
						return nil
					}, concurrency.WithAbortContext(e.ctx))
				}
				done <- err
			}()
		}
		for range cap(done) {
			if err := <-done; err != nil {
				e.Error(err)
			}
		}
		equal(e, "count", len(e.get("counter").Value), 40)
	}},
	{"the client keeps its leases alive automatically", func(e *env) {
		client := e.Client(e.T)
		grant, err := client.Grant(e.ctx, 2)
		id := must(e, grant, err).ID
		ctx, cancel := context.WithCancel(e.ctx)
		answers, err := client.KeepAlive(ctx, id)
		must(e, answers, err)
		put, err := client.Put(e.ctx, e.prefix+"k", "v", clientv3.WithLease(id))
		must(e, put, err)
		for start := time.Now(); time.Since(start) < 5*time.Second; {
			if a, ok := <-answers; !ok || a.TTL != 2 {
				e.Fatalf("kept alive: %v", a)
			}
		}
		equal(e, "the key is there", e.get("k") != nil, true)
		cancel()
		e.await(func() bool { return e.get("k") == nil })
	}},
}
