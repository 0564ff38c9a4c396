package server

import (
	"context"
	"encoding/binary"
	"hash/fnv"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/stele-db/stele/logstructured"
)

// member is what the handlers share: the store, and who answers.
type member struct {
	store     *logstructured.Store
	clusterID uint64
	memberID  uint64
}

func newMember(store *logstructured.Store, id uint64) *member {
	m := &member{store: store, clusterID: store.ClusterID(), memberID: id}
	if m.memberID == 0 {
		m.memberID = memberIDOf(m.clusterID)
	}
	return m
}

// memberIDOf derives the one member's ID from the cluster's; never 0.
func memberIDOf(clusterID uint64) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(binary.BigEndian.AppendUint64([]byte("stele member "), clusterID))
	return max(h.Sum64(), 1)
}

// clusterServer is etcd's Cluster service for the one member that there is.
type clusterServer struct {
	pb.UnsafeClusterServer
	*member
	name       string
	clientURLs []string
}

// MemberList's header has no revision in etcd.
func (s *clusterServer) MemberList(ctx context.Context, r *pb.MemberListRequest) (*pb.MemberListResponse, error) {
	if r.Linearizable {
		if err := s.store.Ready(ctx); err != nil {
			return nil, toStatus(err)
		}
	}
	return &pb.MemberListResponse{
		Header:  s.header(&pb.ResponseHeader{}, 0),
		Members: []*pb.Member{{ID: s.memberID, Name: s.name, ClientURLs: s.clientURLs}},
	}, nil
}

var errMembers = unimplemented("members cannot be changed: replicas share a database and need not know each other; " +
	"to add one, start another Stele with the same endpoint, to remove one, stop it")

func (s *clusterServer) MemberAdd(context.Context, *pb.MemberAddRequest) (*pb.MemberAddResponse, error) {
	return nil, errMembers
}

func (s *clusterServer) MemberRemove(context.Context, *pb.MemberRemoveRequest) (*pb.MemberRemoveResponse, error) {
	return nil, errMembers
}

func (s *clusterServer) MemberUpdate(context.Context, *pb.MemberUpdateRequest) (*pb.MemberUpdateResponse, error) {
	return nil, errMembers
}

func (s *clusterServer) MemberPromote(context.Context, *pb.MemberPromoteRequest) (*pb.MemberPromoteResponse, error) {
	return nil, errMembers
}
