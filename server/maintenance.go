package server

import (
	"context"

	"github.com/sirupsen/logrus"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/pkg/version"
)

// maintenanceServer is etcd's Maintenance service.
type maintenanceServer struct {
	pb.UnsafeMaintenanceServer
	*member
	logger    *logrus.Entry
	streams   *streamSet
	snapshots *snapshotSlots
}

// Status describes this replica. All replicas write; the one that is there for longest is called leader, so that all name the same. The
// raft indexes are log positions.
func (s *maintenanceServer) Status(ctx context.Context, _ *pb.StatusRequest) (*pb.StatusResponse, error) {
	st, err := s.store.Status(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	leader := s.memberID
	if replicas, err := s.store.Replicas(ctx, false); err == nil && len(replicas) > 0 {
		leader = replicas[0].ID
	}
	errors := s.alarmTexts()
	if st.Lost {
		errors = append(errors, "stele: the database does not answer; the size is the last one known")
	}
	if err := s.store.Refused(); err != nil {
		errors = append(errors, "stele: "+err.Error())
	}
	return &pb.StatusResponse{
		Header:           s.header(&pb.ResponseHeader{}, st.Revision),
		Version:          version.Etcd,
		StorageVersion:   s.clusterVersion(),
		Leader:           leader,
		RaftIndex:        uint64(st.Applied),
		RaftAppliedIndex: uint64(st.Applied),
		RaftTerm:         st.Term,
		DbSize:           st.Size.Total,
		DbSizeInUse:      st.Size.InUse,
		DbSizeQuota:      s.store.Quota(),
		DowngradeInfo:    s.downgrade(),
		Errors:           errors,
	}, nil
}

func (s *maintenanceServer) Hash(ctx context.Context, _ *pb.HashRequest) (*pb.HashResponse, error) {
	hash, revision, err := s.store.Hash(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.HashResponse{Header: s.header(&pb.ResponseHeader{}, revision), Hash: hash}, nil
}

func (s *maintenanceServer) HashKV(ctx context.Context, r *pb.HashKVRequest) (*pb.HashKVResponse, error) {
	result, err := s.store.HashKV(ctx, logstructured.Revision(r.Revision))
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.HashKVResponse{
		Header:          s.header(&pb.ResponseHeader{}, result.Revision),
		Hash:            result.Hash,
		CompactRevision: int64(result.CompactRevision),
		HashRevision:    int64(result.HashRevision),
	}, nil
}

// Defragment answers without a header, as etcd.
func (s *maintenanceServer) Defragment(ctx context.Context, _ *pb.DefragmentRequest) (*pb.DefragmentResponse, error) {
	if err := s.store.Defragment(ctx); err != nil {
		return nil, toStatus(err)
	}
	return &pb.DefragmentResponse{}, nil
}
