package semantics

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func (e *env) lock(name string, lease int64) *v3lockpb.LockResponse {
	e.Helper()
	a, err := v3lockpb.NewLockClient(e.Conn).Lock(e.ctx, &v3lockpb.LockRequest{Name: e.key(name), Lease: lease})
	return must(e, a, err)
}

func (e *env) campaign(name, value string, lease int64) *v3electionpb.CampaignResponse {
	e.Helper()
	a, err := v3electionpb.NewElectionClient(e.Conn).Campaign(e.ctx, &v3electionpb.CampaignRequest{
		Name: e.key(name), Value: []byte(value), Lease: lease,
	})
	return must(e, a, err)
}

// fails checks code and message.
func fails[T any](e *env, code codes.Code, message string, _ T, err error) {
	e.Helper()
	if got := status.Convert(err); got.Code() != code || got.Message() != message {
		e.Errorf("%v: %q, want %v: %q", got.Code(), got.Message(), code, message)
	}
}

// lockRules cover etcd's Lock and Election services.
var lockRules = []rule{
	{"a lock is a key with a lease", func(e *env) {
		id := e.grant(500).ID
		before := e.revision()
		a := e.lock("mutex", id)
		equal(e, "key", string(a.Key), fmt.Sprintf("%s/%x", e.key("mutex"), id))
		equal(e, "revision", a.Header.Revision, before+1)
		equal(e, "lease", e.get(fmt.Sprintf("mutex/%x", id)).Lease, id)
		again := e.lock("mutex", id)
		equal(e, "locked again by the same", string(again.Key), string(a.Key))
		equal(e, "revision of that", again.Header.Revision, before+1)
		u, err := v3lockpb.NewLockClient(e.Conn).Unlock(e.ctx, &v3lockpb.UnlockRequest{Key: a.Key})
		equal(e, "revision of the unlock", must(e, u, err).Header.Revision, before+2)
		u, err = v3lockpb.NewLockClient(e.Conn).Unlock(e.ctx, &v3lockpb.UnlockRequest{Key: a.Key})
		equal(e, "revision of another", must(e, u, err).Header.Revision, before+2)
	}},
	{"a lock without a lease gets a lease of a minute", func(e *env) {
		a := e.lock("mutex", 0)
		lease := e.get(strings.TrimPrefix(string(a.Key), e.prefix)).Lease
		equal(e, "granted", e.timeToLive(lease).GrantedTTL, 60)
		equal(e, "key", string(a.Key), fmt.Sprintf("%s/%x", e.key("mutex"), lease))
	}},
	{"clients get a lock in the order of their requests", func(e *env) {
		first := e.lock("mutex", e.grant(500).ID)
		waiting := make(chan string, 3)
		for i := range 3 {
			id := e.grant(500).ID
			go func() {
				a, err := v3lockpb.NewLockClient(e.Conn).Lock(e.ctx, &v3lockpb.LockRequest{
					Name: e.key("mutex"), Lease: id,
				})
				if err != nil {
					waiting <- err.Error()
					return
				}
				waiting <- fmt.Sprint(i)
				if _, err := v3lockpb.NewLockClient(e.Conn).Unlock(e.ctx,
					&v3lockpb.UnlockRequest{Key: a.Key}); err != nil {
					waiting <- err.Error()
				}
			}()
			key := fmt.Sprintf("mutex/%x", id)
			e.await(func() bool { return e.get(key) != nil })
		}
		select {
		case got := <-waiting:
			e.Errorf("while it is held, another gets it: %s", got)
		default:
		}
		a, err := v3lockpb.NewLockClient(e.Conn).Unlock(e.ctx, &v3lockpb.UnlockRequest{Key: first.Key})
		must(e, a, err)
		for i := range 3 {
			equal(e, "next", <-waiting, fmt.Sprint(i))
		}
	}},
	{"waiting for a lock fails when the lease expires", func(e *env) {
		e.lock("mutex", e.grant(500).ID)
		id := e.grant(500).ID
		failed := make(chan error, 1)
		go func() {
			_, err := v3lockpb.NewLockClient(e.Conn).Lock(e.ctx, &v3lockpb.LockRequest{Name: e.key("mutex"), Lease: id})
			failed <- err
		}()
		key := fmt.Sprintf("mutex/%x", id)
		e.await(func() bool { return e.get(key) != nil })
		r, err := e.Lease.LeaseRevoke(e.ctx, &pb.LeaseRevokeRequest{ID: id})
		must(e, r, err)
		// As in etcd, the client learns of it when its turn comes.
		held := e.rangeOf(&pb.RangeRequest{Key: e.key("mutex/"), RangeEnd: e.key("mutex0")}).Kvs
		d, err := e.KV.DeleteRange(e.ctx, &pb.DeleteRangeRequest{Key: held[0].Key})
		must(e, d, err)
		fails(e, codes.Unknown, "mutex: session is expired", 0, <-failed)
	}},
	{"a lock with an unknown lease", func(e *env) {
		a, err := v3lockpb.NewLockClient(e.Conn).Lock(e.ctx, &v3lockpb.LockRequest{Name: e.key("mutex"), Lease: 4711})
		// etcd's service returns its client's error, which has lost the code.
		fails(e,
			map[string]codes.Code{"etcd": codes.Unknown, "subject": codes.Unknown, "stele": codes.NotFound}[e.Name],
			"etcdserver: requested lease not found", a, err)
	}},
	{"locks of the service and of the client exclude each other", func(e *env) {
		session, err := concurrency.NewSession(e.Client(e.T), concurrency.WithTTL(60), concurrency.WithContext(e.ctx))
		must(e, session, err)
		defer func() { _ = session.Close() }()
		held := e.lock("mutex", e.grant(500).ID)
		mutex := concurrency.NewMutex(session, string(e.key("mutex")))
		equal(e, "the client's lock", errors.Is(mutex.TryLock(e.ctx), concurrency.ErrLocked), true)
		u, err := v3lockpb.NewLockClient(e.Conn).Unlock(e.ctx, &v3lockpb.UnlockRequest{Key: held.Key})
		must(e, u, err)
		if err := mutex.TryLock(e.ctx); err != nil {
			e.Error(err)
		}
	}},
	{"an election", func(e *env) {
		client := v3electionpb.NewElectionClient(e.Conn)
		none, err := client.Leader(e.ctx, &v3electionpb.LeaderRequest{Name: e.key("e")})
		fails(e, codes.Unknown, "election: no leader", none, err)
		observed, err := client.Observe(e.ctx, &v3electionpb.LeaderRequest{Name: e.key("e")})
		must(e, observed, err)

		one, two := e.grant(500).ID, e.grant(500).ID
		before := e.revision()
		leader := e.campaign("e", "one", one)
		equal(e, "revision", leader.Header.Revision, before+1)
		equal(e, "key", string(leader.Leader.Key), fmt.Sprintf("%s/%x", e.key("e"), one))
		equal(e, "created", leader.Leader.Rev, before+1)
		equal(e, "lease", leader.Leader.Lease, one)
		equal(e, "name", string(leader.Leader.Name), string(e.key("e")))
		o, err := observed.Recv()
		equal(e, "observed", string(must(e, o, err).Kv.Value), "one")

		elected := make(chan error, 1)
		go func() {
			_, err := client.Campaign(e.ctx, &v3electionpb.CampaignRequest{
				Name: e.key("e"), Value: []byte("two"), Lease: two,
			})
			elected <- err
		}()
		e.await(func() bool { return e.get(fmt.Sprintf("e/%x", two)) != nil })

		p, err := client.Proclaim(e.ctx, &v3electionpb.ProclaimRequest{
			Leader: leader.Leader, Value: []byte("one, still"),
		})
		equal(e, "revision", must(e, p, err).Header.Revision, before+3)
		o, err = observed.Recv()
		equal(e, "observed", string(must(e, o, err).Kv.Value), "one, still")
		// A campaign of the leader is a proclamation.
		equal(e, "created", e.campaign("e", "one, again", one).Leader.Rev, before+1)
		o, err = observed.Recv()
		equal(e, "observed", string(must(e, o, err).Kv.Value), "one, again")
		l, err := client.Leader(e.ctx, &v3electionpb.LeaderRequest{Name: e.key("e")})
		equal(e, "leader", string(must(e, l, err).Kv.Value), "one, again")

		r, err := client.Resign(e.ctx, &v3electionpb.ResignRequest{Leader: leader.Leader})
		equal(e, "revision", must(e, r, err).Header.Revision, before+5)
		if err := <-elected; err != nil {
			e.Error(err)
		}
		o, err = observed.Recv()
		equal(e, "observed", string(must(e, o, err).Kv.Value), "two")
		p, err = client.Proclaim(e.ctx, &v3electionpb.ProclaimRequest{Leader: leader.Leader, Value: []byte("refused")})
		fails(e, codes.Unknown, "election: not leader", p, err)
		r, err = client.Resign(e.ctx, &v3electionpb.ResignRequest{Leader: leader.Leader})
		must(e, r, err)
		p, err = client.Proclaim(e.ctx, &v3electionpb.ProclaimRequest{Value: []byte("of nothing")})
		fails(e, codes.Unknown, `"leader" field must be provided`, p, err)
		r, err = client.Resign(e.ctx, &v3electionpb.ResignRequest{})
		fails(e, codes.Unknown, `"leader" field must be provided`, r, err)
	}},
	{"a client that stops waiting leaves no key", func(e *env) {
		e.campaign("e", "one", e.grant(500).ID)
		id := e.grant(500).ID
		waiting, cancel := context.WithTimeout(e.ctx, 500*time.Millisecond)
		defer cancel()
		_, err := v3electionpb.NewElectionClient(e.Conn).Campaign(waiting, &v3electionpb.CampaignRequest{
			Name: e.key("e"), Value: []byte("two"), Lease: id,
		})
		equal(e, "error", status.Code(err), codes.DeadlineExceeded)
		e.await(func() bool { return e.get(fmt.Sprintf("e/%x", id)) == nil })
	}},
}
