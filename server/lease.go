package server

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/stele-db/stele/logstructured"
)

// leaseServer is etcd's Lease service in lease mode ttl, where a lease is nothing but a TTL.
type leaseServer struct {
	pb.UnsafeLeaseServer
	*member
}

func (s *leaseServer) LeaseGrant(ctx context.Context, r *pb.LeaseGrantRequest) (*pb.LeaseGrantResponse, error) {
	result, err := s.store.LeaseGrant(ctx, logstructured.LeaseID(r.ID), r.TTL)
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.LeaseGrantResponse{
		Header: s.header(&pb.ResponseHeader{}, result.Revision),
		ID:     int64(result.ID),
		TTL:    result.TTL,
	}, nil
}

var errLeaseMode = unimplemented("this server's leases are plain TTLs (lease mode ttl): a key expires that long after its last write, " +
	"and there is nothing to keep alive, revoke or list; write the key again to extend it")

func (s *leaseServer) LeaseRevoke(context.Context, *pb.LeaseRevokeRequest) (*pb.LeaseRevokeResponse, error) {
	return nil, errLeaseMode
}

func (s *leaseServer) LeaseKeepAlive(pb.Lease_LeaseKeepAliveServer) error { return errLeaseMode }

func (s *leaseServer) LeaseTimeToLive(context.Context, *pb.LeaseTimeToLiveRequest) (*pb.LeaseTimeToLiveResponse, error) {
	return nil, errLeaseMode
}

func (s *leaseServer) LeaseLeases(context.Context, *pb.LeaseLeasesRequest) (*pb.LeaseLeasesResponse, error) {
	return nil, errLeaseMode
}
