package server

import (
	"context"
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/logstructured"
)

// sessionTTL is that of a lease which the server grants because the client names none, in seconds; etcd's.
const sessionTTL = 60

// contest is what locks and elections are made of: each contender has a key below a prefix, with its lease, and the one
// whose key was created first holds what they contend for. etcd's clients do the same with the same keys, so that both
// kinds meet.
type contest struct {
	*member
	kv    *kvServer
	lease *leaseServer
	// streams ends who waits when the server stops.
	streams *streamSet
}

// contender is a key of a contest.
type contender struct {
	key []byte
	// created is the key's create revision.
	created int64
	lease   int64
	// value is what the key held already, if the same session has contended before.
	value  []byte
	header *pb.ResponseHeader
}

func contestPrefix(name []byte) []byte { return append(append([]byte{}, name...), '/') }

// enter creates the contender's key unless it is there. Without a lease it grants one, which nobody keeps alive but the
// client.
func (c *contest) enter(ctx context.Context, name []byte, lease int64, value []byte) (*contender, error) {
	if err := c.store.OwnLeases(); err != nil {
		return nil, toStatus(err)
	}
	if lease == 0 {
		granted, err := c.lease.LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: sessionTTL})
		if err != nil {
			return nil, err
		}
		lease = granted.ID
	}
	own := &contender{key: fmt.Appendf(contestPrefix(name), "%x", lease), lease: lease, value: value}
	resp, err := c.kv.Txn(ctx, &pb.TxnRequest{
		Compare: []*pb.Compare{createdAt(own.key, 0)},
		Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: own.key, Value: value, Lease: lease}}}},
		Failure: []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: own.key}}}},
	})
	if err != nil {
		return nil, err
	}
	own.header, own.created = resp.Header, resp.Header.Revision
	if !resp.Succeeded {
		there := resp.Responses[0].GetResponseRange().Kvs[0]
		own.created, own.value = there.CreateRevision, there.Value
	}
	return own, nil
}

// createdAt holds if the key was created at revision; at 0, if there is none.
func createdAt(key []byte, revision int64) *pb.Compare {
	return &pb.Compare{
		Key: key, Target: pb.Compare_CREATE, Result: pb.Compare_EQUAL,
		TargetUnion: &pb.Compare_CreateRevision{CreateRevision: revision},
	}
}

// await returns when all keys below prefix that were created before revision are gone.
func (c *contest) await(ctx context.Context, prefix []byte, revision int64) error {
	for {
		r := below(prefix, pb.RangeRequest_DESCEND)
		r.MaxCreateRevision = revision - 1
		before, err := c.kv.first(ctx, r)
		if err != nil || len(before.Kvs) == 0 {
			return err
		}
		if err := c.awaitDelete(ctx, before.Kvs[0].Key, before.Header.Revision); err != nil {
			return err
		}
	}
}

// below asks for the one key below prefix that was created first (or last, if order is descending).
func below(prefix []byte, order pb.RangeRequest_SortOrder) *pb.RangeRequest {
	return &pb.RangeRequest{
		Key: prefix, RangeEnd: prefixEnd(prefix), Limit: 1,
		SortTarget: pb.RangeRequest_CREATE, SortOrder: order,
	}
}

// prefixEnd is the end of the range of all keys that begin with prefix, which ends in a slash.
func prefixEnd(prefix []byte) []byte {
	end := append([]byte{}, prefix...)
	end[len(end)-1]++
	return end
}

func (c *contest) awaitDelete(ctx context.Context, key []byte, from int64) error {
	err := c.watch(ctx, &pb.WatchCreateRequest{
		Key: key, StartRevision: from, Filters: []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NOPUT},
	}, func(int64, *mvccpb.Event) error { return errSeen })
	if errors.Is(err, errSeen) {
		return nil
	}
	return err
}

// errSeen ends a watch that has shown what was waited for.
var errSeen = errors.New("seen")

// watch calls fn with the current revision and each event, until that or the watch fails.
func (c *contest) watch(ctx context.Context, r *pb.WatchCreateRequest, fn func(revision int64, ev *mvccpb.Event) error) error {
	ws := c.store.NewWatchStream()
	defer ws.Close()
	remove, err := c.streams.add(ws.Close)
	if err != nil {
		return err
	}
	defer remove()
	ws.Create(c.auth.guard(ctx, r, c.auth.current()), toWatch(r))
	for {
		resp, err := ws.Next(ctx)
		if err != nil {
			return toWaitStatus(err)
		}
		if resp.Err != nil {
			return toStatus(resp.Err)
		}
		if resp.Canceled {
			return toStatus(logstructured.ErrCompacted)
		}
		for _, ev := range resp.Events {
			if err := fn(int64(resp.Revision), ev); err != nil {
				return err
			}
		}
	}
}

// leave deletes the contender's key, also when the client has gone: others wait for that.
func (c *contest) leave(ctx context.Context, own *contender) (*pb.TxnResponse, error) {
	return c.kv.Txn(context.WithoutCancel(ctx), &pb.TxnRequest{
		Compare: []*pb.Compare{createdAt(own.key, own.created)},
		Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{Key: own.key}}}},
	})
}

// contestError is an error that has no code in etcd either.
func contestError(text string) error { return status.Error(codes.Unknown, text) }
