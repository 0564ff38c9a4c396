package server

import (
	"context"
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/internal/keyrange"
	"github.com/stele-db/stele/logstructured"
)

// sessionTTL is the TTL, in seconds, of a lease that the server grants if the client specifies none. It is the same as
// in etcd.
const sessionTTL = 60

// lockSessions implements what locks and elections have in common. Each session has a key with its lease below a
// prefix, and the session whose key was created first holds the lock or leads. etcd's clients use the same keys in the
// same way, so that sessions of clients and of the server exclude each other.
type lockSessions struct {
	*member
	kv    *kvServer
	lease *leaseServer
	// streams ends the requests that wait when the server stops.
	streams *streamSet
}

// lockSession is a client's key in a lock or an election.
type lockSession struct {
	key []byte
	// created is the key's create revision.
	created int64
	lease   int64
	// value is the key's value: the requested one, or the previous one if the key existed.
	value  []byte
	header *pb.ResponseHeader
}

func sessionPrefix(name []byte) []byte { return append(append([]byte{}, name...), '/') }

// open creates the session's key unless it exists. If lease is 0 it grants a lease, which the client must keep alive.
func (c *lockSessions) open(ctx context.Context, name []byte, lease int64, value []byte) (*lockSession, error) {
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
	own := &lockSession{key: fmt.Appendf(sessionPrefix(name), "%x", lease), lease: lease, value: value}
	put := &pb.PutRequest{Key: own.key, Value: value, Lease: lease}
	get := &pb.RangeRequest{Key: own.key}
	resp, err := c.kv.Txn(ctx, &pb.TxnRequest{
		Compare: []*pb.Compare{createdAt(own.key, 0)},
		Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: put}}},
		Failure: []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: get}}},
	})
	if err != nil {
		return nil, err
	}
	own.header, own.created = resp.Header, resp.Header.Revision
	if !resp.Succeeded {
		existing := resp.Responses[0].GetResponseRange().Kvs[0]
		own.created, own.value = existing.CreateRevision, existing.Value
	}
	return own, nil
}

// createdAt compares the create revision of key with revision. With revision 0 it holds if the key does not exist.
func createdAt(key []byte, revision int64) *pb.Compare {
	return &pb.Compare{
		Key: key, Target: pb.Compare_CREATE, Result: pb.Compare_EQUAL,
		TargetUnion: &pb.Compare_CreateRevision{CreateRevision: revision},
	}
}

// awaitEarlier waits until all keys below prefix that were created before revision are deleted.
func (c *lockSessions) awaitEarlier(ctx context.Context, prefix []byte, revision int64) error {
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

// below returns a request for the key below prefix that was created first (or last, if order is descending).
func below(prefix []byte, order pb.RangeRequest_SortOrder) *pb.RangeRequest {
	return &pb.RangeRequest{
		Key: prefix, RangeEnd: keyrange.Prefix(prefix).End, Limit: 1,
		SortTarget: pb.RangeRequest_CREATE, SortOrder: order,
	}
}

func (c *lockSessions) awaitDelete(ctx context.Context, key []byte, from int64) error {
	return c.watch(ctx, &pb.WatchCreateRequest{
		Key: key, StartRevision: from, Filters: []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NOPUT},
	}, func(int64, *mvccpb.Event) error { return errWatchDone })
}

// errWatchDone ends a watch that has received the expected event.
var errWatchDone = errors.New("the expected event was received")

// watch calls fn with the current revision and each event until fn or the watch fails. It returns nil if fn returns
// errWatchDone.
func (c *lockSessions) watch(
	ctx context.Context, r *pb.WatchCreateRequest, fn func(revision int64, ev *mvccpb.Event) error,
) error {
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
			err := fn(int64(resp.Revision), ev)
			if errors.Is(err, errWatchDone) {
				return nil
			}
			if err != nil {
				return err
			}
		}
	}
}

// close deletes the session's key. It does so even if the client has disconnected, because other sessions wait for the
// deletion.
func (c *lockSessions) close(ctx context.Context, own *lockSession) (*pb.TxnResponse, error) {
	del := &pb.DeleteRangeRequest{Key: own.key}
	return c.kv.Txn(context.WithoutCancel(ctx), &pb.TxnRequest{
		Compare: []*pb.Compare{createdAt(own.key, own.created)},
		Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: del}}},
	})
}

// sessionError returns an error with code Unknown, as etcd does for errors that have no code there.
func sessionError(text string) error { return status.Error(codes.Unknown, text) }
