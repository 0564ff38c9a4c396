package server

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
)

// lockServer is etcd's Lock service.
type lockServer struct {
	v3lockpb.UnsafeLockServer
	lockSessions
}

// Lock waits until the client holds the lock. The client holds it as long as its key exists.
func (s *lockServer) Lock(ctx context.Context, r *v3lockpb.LockRequest) (*v3lockpb.LockResponse, error) {
	own, err := s.open(ctx, r.Name, r.Lease, nil)
	if err != nil {
		return nil, err
	}
	resp, err := s.acquire(ctx, r.Name, own)
	if err != nil {
		_, _ = s.close(ctx, own) // if this fails, the key is deleted when its lease expires
		return nil, err
	}
	return resp, nil
}

func (s *lockServer) acquire(ctx context.Context, name []byte, own *lockSession) (*v3lockpb.LockResponse, error) {
	if err := s.awaitEarlier(ctx, sessionPrefix(name), own.created); err != nil {
		return nil, err
	}
	// The lease may have expired while the client waited.
	resp, err := s.kv.first(ctx, &pb.RangeRequest{Key: own.key})
	if err != nil {
		return nil, err
	}
	if len(resp.Kvs) == 0 {
		return nil, sessionError("mutex: session is expired")
	}
	return &v3lockpb.LockResponse{Header: resp.Header, Key: own.key}, nil
}

func (s *lockServer) Unlock(ctx context.Context, r *v3lockpb.UnlockRequest) (*v3lockpb.UnlockResponse, error) {
	resp, err := s.kv.DeleteRange(ctx, &pb.DeleteRangeRequest{Key: r.Key})
	if err != nil {
		return nil, err
	}
	return &v3lockpb.UnlockResponse{Header: resp.Header}, nil
}
