package server

import (
	"context"
	"encoding/binary"
	"hash/fnv"
	"os"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
)

// member is the state that all handlers share: the store, and the identity of this replica.
type member struct {
	store     *logstructured.Store
	clusterID uint64
	memberID  uint64
	auth      *authorizer
}

func newMember(store *logstructured.Store, opts *Options) *member {
	m := &member{store: store, clusterID: store.ClusterID(), memberID: opts.MemberID, auth: newAuthorizer(store, opts)}
	if m.memberID == 0 {
		m.memberID = memberIDOf(m.clusterID, opts)
	}
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

// replicas calls [logstructured.Store.Replicas] for request r.
func (m *member) replicas(ctx context.Context, r any, refresh bool) ([]log.Replica, error) {
	return authorized(ctx, m.auth, r, func(guard logstructured.Guard) ([]log.Replica, error) {
		return m.store.Replicas(ctx, guard, refresh)
	})
}

// setHeader sets the fields of h that every response has. revision may be 0 where etcd leaves it out.
func (m *member) setHeader(h *pb.ResponseHeader, revision logstructured.Revision) {
	h.ClusterId = m.clusterID
	h.MemberId = m.memberID
	h.Revision = int64(revision)
	h.RaftTerm = m.store.Term()
}

// header returns a new header.
func (m *member) header(revision logstructured.Revision) *pb.ResponseHeader {
	h := &pb.ResponseHeader{}
	m.setHeader(h, revision)
	return h
}

// contains reports whether one of the replicas has the given ID.
func contains(replicas []log.Replica, id uint64) bool {
	return slices.ContainsFunc(replicas, func(r log.Replica) bool { return r.ID == id })
}
