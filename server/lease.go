package server

import (
	"context"
	"errors"
	"io"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/stele-db/stele/logstructured"
)

// maxKeepAlives is how many keep-alives of one stream may be under way at the same time. A client sends those of all its leases on one stream, and
// one after the other they would wait for a commit each.
const maxKeepAlives = 256

// leaseServer is etcd's Lease service.
type leaseServer struct {
	pb.UnsafeLeaseServer
	*member
	streams *streamSet
}

func (s *leaseServer) LeaseGrant(ctx context.Context, r *pb.LeaseGrantRequest) (*pb.LeaseGrantResponse, error) {
	result, err := authorized(ctx, s.auth, r, func(guard logstructured.Guard) (*logstructured.LeaseGrantResult, error) {
		return s.store.LeaseGrant(ctx, logstructured.LeaseID(r.ID), r.TTL, guard)
	})
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.LeaseGrantResponse{
		Header: s.header(&pb.ResponseHeader{}, result.Revision),
		ID:     int64(result.ID),
		TTL:    result.TTL,
	}, nil
}

func (s *leaseServer) LeaseRevoke(ctx context.Context, r *pb.LeaseRevokeRequest) (*pb.LeaseRevokeResponse, error) {
	revision, err := authorized(ctx, s.auth, r, func(guard logstructured.Guard) (logstructured.Revision, error) {
		return s.store.LeaseRevoke(ctx, logstructured.LeaseID(r.ID), guard)
	})
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.LeaseRevokeResponse{Header: s.header(&pb.ResponseHeader{}, revision)}, nil
}

func (s *leaseServer) LeaseTimeToLive(ctx context.Context, r *pb.LeaseTimeToLiveRequest) (*pb.LeaseTimeToLiveResponse, error) {
	result, err := authorized(ctx, s.auth, r, func(guard logstructured.Guard) (*logstructured.LeaseTimeToLiveResult, error) {
		return s.store.LeaseTimeToLive(ctx, logstructured.LeaseID(r.ID), r.Keys, guard)
	})
	if errors.Is(err, logstructured.ErrLeaseNotFound) {
		return &pb.LeaseTimeToLiveResponse{Header: s.header(&pb.ResponseHeader{}, result.Revision), ID: r.ID, TTL: -1}, nil
	}
	if err != nil {
		return nil, toStatus(err)
	}
	resp := &pb.LeaseTimeToLiveResponse{
		Header: s.header(&pb.ResponseHeader{}, result.Revision),
		ID:     r.ID, TTL: result.TTL, GrantedTTL: result.GrantedTTL,
	}
	for _, key := range result.Keys {
		resp.Keys = append(resp.Keys, []byte(key))
	}
	return resp, nil
}

func (s *leaseServer) LeaseLeases(ctx context.Context, r *pb.LeaseLeasesRequest) (*pb.LeaseLeasesResponse, error) {
	var ids []logstructured.LeaseID
	revision, err := authorized(ctx, s.auth, r, func(guard logstructured.Guard) (revision logstructured.Revision, err error) {
		ids, revision, err = s.store.Leases(ctx, guard)
		return revision, err
	})
	if err != nil {
		return nil, toStatus(err)
	}
	resp := &pb.LeaseLeasesResponse{Header: s.header(&pb.ResponseHeader{}, revision)}
	for _, id := range ids {
		resp.Leases = append(resp.Leases, &pb.LeaseStatus{ID: int64(id)})
	}
	return resp, nil
}

// keptAlive is the answer to a keep-alive.
type keptAlive struct {
	resp *pb.LeaseKeepAliveResponse
	err  error
}

// LeaseKeepAlive answers in the order of the requests. It receives in a goroutine beside this one, as Watch does.
func (s *leaseServer) LeaseKeepAlive(stream pb.Lease_LeaseKeepAliveServer) error {
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	remove, err := s.streams.add(func() { cancel(logstructured.ErrStopped) })
	if err != nil {
		return err
	}
	defer remove()
	answers := make(chan chan keptAlive, maxKeepAlives)
	s.streams.receivers.Go(func() {
		defer close(answers)
		if err := s.receiveKeepAlives(ctx, stream, answers); err != nil {
			cancel(err)
		}
	})
	for {
		select {
		case <-ctx.Done():
			return keepAliveError(ctx)
		case next, ok := <-answers:
			if !ok { // the client will ask for no more, or is gone
				return keepAliveError(ctx)
			}
			answer := <-next
			if answer.err != nil && ctx.Err() != nil {
				return keepAliveError(ctx)
			}
			if answer.err != nil {
				return toStatus(answer.err)
			}
			if err := stream.Send(answer.resp); err != nil {
				return err
			}
		}
	}
}

func keepAliveError(ctx context.Context) error {
	if cause := context.Cause(ctx); cause != nil {
		return toWaitStatus(cause)
	}
	return nil
}

// receiveKeepAlives begins what is asked for, and puts into answers where the answer will be.
func (s *leaseServer) receiveKeepAlives(ctx context.Context, stream pb.Lease_LeaseKeepAliveServer, answers chan<- chan keptAlive) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		answer := make(chan keptAlive, 1)
		select {
		case answers <- answer:
		case <-ctx.Done():
			return nil
		}
		s.streams.receivers.Go(func() {
			resp, err := s.keepAlive(ctx, req)
			answer <- keptAlive{resp, err}
		})
	}
}

func (s *leaseServer) keepAlive(ctx context.Context, r *pb.LeaseKeepAliveRequest) (*pb.LeaseKeepAliveResponse, error) {
	result, err := authorized(ctx, s.auth, r, func(guard logstructured.Guard) (*logstructured.LeaseGrantResult, error) {
		return s.store.LeaseKeepAlive(ctx, logstructured.LeaseID(r.ID), guard)
	})
	if errors.Is(err, logstructured.ErrLeaseNotFound) {
		// A TTL of 0 tells the client so and leaves the stream to its other leases.
		return &pb.LeaseKeepAliveResponse{Header: s.header(&pb.ResponseHeader{}, s.store.Revision()), ID: r.ID}, nil
	}
	if err != nil {
		return nil, err
	}
	return &pb.LeaseKeepAliveResponse{Header: s.header(&pb.ResponseHeader{}, result.Revision), ID: r.ID, TTL: result.TTL}, nil
}
