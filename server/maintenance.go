package server

import (
	"context"

	"github.com/sirupsen/logrus"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

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

// Status describes this replica. All replicas write. The replica that has run longest is reported as leader, so that
// all replicas report the same one. The raft indexes are log positions.
func (s *maintenanceServer) Status(ctx context.Context, r *pb.StatusRequest) (*pb.StatusResponse, error) {
	st, err := authorized(ctx, s.auth, r, func(guard logstructured.Guard) (*logstructured.Status, error) {
		return s.store.Status(ctx, guard)
	})
	if err != nil {
		return nil, toStatus(err)
	}
	leader := s.memberID
	if replicas, err := s.store.Replicas(ctx, logstructured.Unguarded, false); err == nil && len(replicas) > 0 {
		leader = replicas[0].ID
	}
	errors := s.alarmTexts()
	if st.Lost {
		errors = append(errors, "stele: the database does not answer; the size is the last one known")
	} else if err := s.store.Refused(); err != nil {
		errors = append(errors, "stele: "+err.Error())
	}
	return &pb.StatusResponse{
		Header:           s.header(st.Revision),
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

func (s *maintenanceServer) Hash(ctx context.Context, r *pb.HashRequest) (*pb.HashResponse, error) {
	var hash uint32
	revision, err := authorized(ctx, s.auth, r, func(guard logstructured.Guard) (at logstructured.Revision, err error) {
		hash, at, err = s.store.Hash(ctx, guard)
		return at, err
	})
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.HashResponse{Header: s.header(revision), Hash: hash}, nil
}

func (s *maintenanceServer) HashKV(ctx context.Context, r *pb.HashKVRequest) (*pb.HashKVResponse, error) {
	result, err := authorized(ctx, s.auth, r, func(guard logstructured.Guard) (*logstructured.HashKVResult, error) {
		return s.store.HashKV(ctx, guard, logstructured.Revision(r.Revision))
	})
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.HashKVResponse{
		Header:          s.header(result.Revision),
		Hash:            result.Hash,
		CompactRevision: int64(result.CompactRevision),
		HashRevision:    int64(result.HashRevision),
	}, nil
}

// Defragment returns a response without a header, as etcd does.
func (s *maintenanceServer) Defragment(ctx context.Context, r *pb.DefragmentRequest) (*pb.DefragmentResponse, error) {
	_, err := authorized(ctx, s.auth, r, func(guard logstructured.Guard) (struct{}, error) {
		return struct{}{}, s.store.Defragment(ctx, guard)
	})
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.DefragmentResponse{}, nil
}

// MoveLeader returns the results of etcd, except that it fails for another replica as the target: the leader is always
// the replica that has run longest.
func (s *maintenanceServer) MoveLeader(ctx context.Context, r *pb.MoveLeaderRequest) (*pb.MoveLeaderResponse, error) {
	replicas, err := s.replicas(ctx, r, true)
	switch {
	case err != nil:
		return nil, toStatus(err)
	case len(replicas) > 0 && replicas[0].ID != s.memberID:
		return nil, rpctypes.ErrGRPCNotLeader
	case r.TargetID == s.memberID:
		return &pb.MoveLeaderResponse{}, nil
	case !contains(replicas, r.TargetID):
		return nil, rpctypes.ErrGRPCBadLeaderTransferee
	}
	return nil, errMoveLeader
}

var errMoveLeader = status.Error(codes.FailedPrecondition,
	"stele: the leader is the replica that has run longest, and every replica writes: "+
		"restart this one to make the next one the leader")
