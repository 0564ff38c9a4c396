package server

import (
	"context"
	"errors"
	"io"
	"runtime"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/stele-db/stele/logstructured"
)

// maxKeepAlives is how many keep-alives of one stream may be in progress at the same time. A client sends the
// keep-alives of all its leases on one stream; if each started only after the previous response, each would wait for
// its own commit.
const maxKeepAlives = 256

// leaseServer is etcd's Lease service.
type leaseServer struct {
	pb.UnsafeLeaseServer
	*member
	streams *streamSet
}

func (s *leaseServer) LeaseGrant(ctx context.Context, r *pb.LeaseGrantRequest) (*pb.LeaseGrantResponse, error) {
	result, err := authorized(ctx, s.auth, r, func(guard logstructured.Guard) (*logstructured.LeaseGrantResult, error) {
		return s.store.LeaseGrant(ctx, guard, logstructured.LeaseID(r.ID), r.TTL)
	})
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.LeaseGrantResponse{
		Header: s.header(result.Revision),
		ID:     int64(result.ID),
		TTL:    result.TTL,
	}, nil
}

func (s *leaseServer) LeaseRevoke(ctx context.Context, r *pb.LeaseRevokeRequest) (*pb.LeaseRevokeResponse, error) {
	// A keep-alive that the client has sent before on its stream should take effect first: let that stream read it.
	runtime.Gosched()
	revision, err := authorized(ctx, s.auth, r, func(guard logstructured.Guard) (logstructured.Revision, error) {
		return s.store.LeaseRevoke(ctx, guard, logstructured.LeaseID(r.ID))
	})
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.LeaseRevokeResponse{Header: s.header(revision)}, nil
}

func (s *leaseServer) LeaseTimeToLive(
	ctx context.Context, r *pb.LeaseTimeToLiveRequest,
) (*pb.LeaseTimeToLiveResponse, error) {
	type result = *logstructured.LeaseTimeToLiveResult
	lease, err := authorized(ctx, s.auth, r, func(guard logstructured.Guard) (result, error) {
		return s.store.LeaseTimeToLive(ctx, guard, logstructured.LeaseID(r.ID), r.Keys)
	})
	if errors.Is(err, logstructured.ErrLeaseNotFound) {
		return &pb.LeaseTimeToLiveResponse{Header: s.header(lease.Revision), ID: r.ID, TTL: -1}, nil
	}
	if err != nil {
		return nil, toStatus(err)
	}
	resp := &pb.LeaseTimeToLiveResponse{
		Header: s.header(lease.Revision),
		ID:     r.ID, TTL: lease.TTL, GrantedTTL: lease.GrantedTTL,
	}
	for _, key := range lease.Keys {
		resp.Keys = append(resp.Keys, []byte(key))
	}
	return resp, nil
}

func (s *leaseServer) LeaseLeases(ctx context.Context, r *pb.LeaseLeasesRequest) (*pb.LeaseLeasesResponse, error) {
	var ids []logstructured.LeaseID
	revision, err := authorized(ctx, s.auth, r, func(guard logstructured.Guard) (at logstructured.Revision, err error) {
		ids, at, err = s.store.Leases(ctx, guard)
		return at, err
	})
	if err != nil {
		return nil, toStatus(err)
	}
	resp := &pb.LeaseLeasesResponse{Header: s.header(revision)}
	for _, id := range ids {
		resp.Leases = append(resp.Leases, &pb.LeaseStatus{ID: int64(id)})
	}
	return resp, nil
}

// keepAliveResult waits for the response to a keep-alive.
type keepAliveResult func() (*pb.LeaseKeepAliveResponse, error)

// LeaseKeepAlive applies the keep-alives of a stream in the order of the requests, and answers in that order. Like
// Watch, it receives in a separate goroutine.
func (s *leaseServer) LeaseKeepAlive(stream pb.Lease_LeaseKeepAliveServer) error {
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	remove, err := s.streams.add(func() { cancel(logstructured.ErrStopped) })
	if err != nil {
		return err
	}
	defer remove()
	answers := make(chan keepAliveResult, maxKeepAlives)
	s.streams.receivers.Go(func() {
		if err := s.receiveKeepAlives(ctx, stream, answers); err != nil {
			cancel(err)
		}
		close(answers)
		<-ctx.Done()
		for wait := range answers { // the handler returned before it waited for these
			_, _ = wait()
		}
	})
	for {
		select {
		case <-ctx.Done():
			return keepAliveError(ctx)
		case wait, ok := <-answers:
			if !ok { // the client sends no more requests, or has disconnected
				return keepAliveError(ctx)
			}
			resp, err := wait()
			if err != nil && ctx.Err() != nil {
				return keepAliveError(ctx)
			}
			if err != nil {
				return toStatus(err)
			}
			if err := stream.Send(resp); err != nil {
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

// receiveKeepAlives submits each keep-alive when it is received, so that they are queued in the order of the requests.
// It sends to answers the functions that wait for the responses.
func (s *leaseServer) receiveKeepAlives(
	ctx context.Context, stream pb.Lease_LeaseKeepAliveServer, answers chan<- keepAliveResult,
) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		wait := s.submitKeepAlive(ctx, req)
		select {
		case answers <- wait:
		case <-ctx.Done():
			_, _ = wait()
			return nil
		}
	}
}

func (s *leaseServer) submitKeepAlive(ctx context.Context, r *pb.LeaseKeepAliveRequest) keepAliveResult {
	wait := submitted(ctx, s.auth, r, func(guard logstructured.Guard) func() (*logstructured.LeaseGrantResult, error) {
		return s.store.SubmitLeaseKeepAlive(ctx, guard, logstructured.LeaseID(r.ID))
	})
	return func() (*pb.LeaseKeepAliveResponse, error) {
		result, err := wait()
		if err != nil && !errors.Is(err, logstructured.ErrLeaseNotFound) {
			return nil, err
		}
		// As in etcd, a TTL of 0 means that the lease does not exist. The stream stays open for the client's other
		// leases.
		return &pb.LeaseKeepAliveResponse{Header: s.header(result.Revision), ID: r.ID, TTL: result.TTL}, nil
	}
}
