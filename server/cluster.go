package server

import (
	"cmp"
	"context"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// clusterServer is etcd's Cluster service: the members are the replicas on the database.
type clusterServer struct {
	pb.UnsafeClusterServer
	*member
}

// As in etcd, the header of MemberList has no revision.
func (s *clusterServer) MemberList(ctx context.Context, r *pb.MemberListRequest) (*pb.MemberListResponse, error) {
	replicas, err := s.replicas(ctx, r, r.Linearizable)
	if err != nil {
		return nil, toStatus(err)
	}
	response := &pb.MemberListResponse{Header: s.header(0)}
	for _, r := range replicas {
		response.Members = append(response.Members, &pb.Member{
			// Sorted as in etcd, whatever the order on the command line is.
			ID: r.ID, Name: r.Name, ClientURLs: slices.Sorted(slices.Values(r.ClientURLs)),
		})
	}
	return response, nil
}

var errMembers = unimplemented("members cannot be changed: replicas share a database and need not know each other; " +
	"to add one, start another Stele with the same endpoint, to remove one, stop it")

// MemberAdd returns etcd's error for URLs that etcd refuses.
func (s *clusterServer) MemberAdd(ctx context.Context, r *pb.MemberAddRequest) (*pb.MemberAddResponse, error) {
	if err := s.auth.permitted(ctx, r); err != nil {
		return nil, toStatus(err)
	}
	if _, err := ParseURLs(r.PeerURLs); err != nil {
		return nil, rpctypes.ErrGRPCMemberBadURLs
	}
	return nil, errMembers
}

// MemberRemove returns etcd's error for an unknown member.
func (s *clusterServer) MemberRemove(ctx context.Context, r *pb.MemberRemoveRequest) (*pb.MemberRemoveResponse, error) {
	return nil, cmp.Or(s.checkMember(ctx, r, r.ID), errMembers)
}

// MemberUpdate returns etcd's error for an unknown member.
func (s *clusterServer) MemberUpdate(ctx context.Context, r *pb.MemberUpdateRequest) (*pb.MemberUpdateResponse, error) {
	return nil, cmp.Or(s.checkMember(ctx, r, r.ID), errMembers)
}

// MemberPromote always fails, because there are no learners. The errors are etcd's.
func (s *clusterServer) MemberPromote(
	ctx context.Context, r *pb.MemberPromoteRequest,
) (*pb.MemberPromoteResponse, error) {
	return nil, cmp.Or(s.checkMember(ctx, r, r.ID), rpctypes.ErrGRPCMemberNotLearner)
}

// checkMember returns an error unless request r is permitted and a member with this ID exists.
func (s *clusterServer) checkMember(ctx context.Context, r any, id uint64) error {
	replicas, err := s.replicas(ctx, r, true)
	if err != nil {
		return toStatus(err)
	}
	if !contains(replicas, id) {
		return rpctypes.ErrGRPCMemberNotFound
	}
	return nil
}
