package server

import (
	"cmp"
	"context"
	"encoding/binary"
	"hash/fnv"
	"os"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
	"github.com/stele-db/stele/pkg/version"
)

// member is the state that all handlers share: the store, and the identity of this replica.
type member struct {
	store     *logstructured.Store
	clusterID uint64
	memberID  uint64
	auth      *authorizer
}

// newMember creates the member of this replica and announces it to the other replicas on the database.
func newMember(store *logstructured.Store, opts *Options) *member {
	m := &member{store: store, clusterID: store.ClusterID(), memberID: opts.MemberID, auth: newAuthorizer(store, opts)}
	if m.memberID == 0 {
		m.memberID = memberIDOf(m.clusterID, opts)
	}
	store.Announce(log.Replica{
		ID: m.memberID, Name: opts.Name, ClientURLs: opts.AdvertiseClientURLs, Version: version.Version,
	})
	return m
}

// memberIDOf derives the ID of a replica from the cluster ID and the replica's host name, name and URLs. It is never 0.
// It stays the same across restarts and differs between the replicas of a cluster.
func memberIDOf(clusterID uint64, opts *Options) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(binary.BigEndian.AppendUint64([]byte("stele member "), clusterID))
	host, _ := os.Hostname() // on failure, an empty name is used
	for _, s := range slices.Concat([]string{host, opts.Name}, opts.AdvertiseClientURLs) {
		_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
		_, _ = h.Write([]byte(s))
	}
	return max(h.Sum64(), 1)
}

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
	response := &pb.MemberListResponse{Header: s.header(&pb.ResponseHeader{}, 0)}
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
func (s *clusterServer) MemberPromote(ctx context.Context, r *pb.MemberPromoteRequest) (*pb.MemberPromoteResponse, error) {
	return nil, cmp.Or(s.checkMember(ctx, r, r.ID), rpctypes.ErrGRPCMemberNotLearner)
}

// replicas calls [logstructured.Store.Replicas] for request r.
func (m *member) replicas(ctx context.Context, r any, refresh bool) ([]log.Replica, error) {
	return authorized(ctx, m.auth, r, func(guard logstructured.Guard) ([]log.Replica, error) {
		return m.store.Replicas(ctx, guard, refresh)
	})
}

// checkMember returns an error unless request r is permitted and a member with this ID exists.
func (s *clusterServer) checkMember(ctx context.Context, r any, id uint64) error {
	replicas, err := s.replicas(ctx, r, true)
	if err != nil {
		return toStatus(err)
	}
	if !slices.ContainsFunc(replicas, func(replica log.Replica) bool { return replica.ID == id }) {
		return rpctypes.ErrGRPCMemberNotFound
	}
	return nil
}
