package server

import (
	"bytes"
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"

	"github.com/stele-db/stele/internal/keyrange"
	"github.com/stele-db/stele/logstructured"
)

// electionServer is etcd's Election service.
type electionServer struct {
	v3electionpb.UnsafeElectionServer
	lockSessions
}

var (
	errNoLeaderField = sessionError(`"leader" field must be provided`)
	errNotLeader     = sessionError("election: not leader")
	errNoLeader      = sessionError("election: no leader")
)

// Campaign waits until the client leads. The client leads as long as its key exists.
func (s *electionServer) Campaign(
	ctx context.Context, r *v3electionpb.CampaignRequest,
) (*v3electionpb.CampaignResponse, error) {
	own, err := s.open(ctx, r.Name, r.Lease, r.Value)
	if err != nil {
		return nil, err
	}
	leader := &v3electionpb.LeaderKey{Name: r.Name, Key: own.key, Rev: own.created, Lease: own.lease}
	if !bytes.Equal(own.value, r.Value) {
		_, err = s.proclaim(ctx, leader, r.Value)
	}
	if err == nil {
		err = s.awaitEarlier(ctx, sessionPrefix(r.Name), own.created)
	}
	if err != nil {
		_, _ = s.close(ctx, own) // if this fails, the key is deleted when its lease expires
		return nil, err
	}
	return &v3electionpb.CampaignResponse{Header: own.header, Leader: leader}, nil
}

func (s *electionServer) Proclaim(
	ctx context.Context, r *v3electionpb.ProclaimRequest,
) (*v3electionpb.ProclaimResponse, error) {
	if r.Leader == nil {
		return nil, errNoLeaderField
	}
	header, err := s.proclaim(ctx, r.Leader, r.Value)
	if err != nil {
		return nil, err
	}
	return &v3electionpb.ProclaimResponse{Header: header}, nil
}

func (s *electionServer) proclaim(
	ctx context.Context, leader *v3electionpb.LeaderKey, value []byte,
) (*pb.ResponseHeader, error) {
	put := &pb.PutRequest{Key: leader.Key, Value: value, Lease: leader.Lease}
	resp, err := s.kv.Txn(ctx, &pb.TxnRequest{
		Compare: []*pb.Compare{createdAt(leader.Key, leader.Rev)},
		Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: put}}},
	})
	if err != nil {
		return nil, err
	}
	if !resp.Succeeded {
		return nil, errNotLeader
	}
	return resp.Header, nil
}

func (s *electionServer) Leader(
	ctx context.Context, r *v3electionpb.LeaderRequest,
) (*v3electionpb.LeaderResponse, error) {
	resp, err := s.kv.first(ctx, below(sessionPrefix(r.Name), pb.RangeRequest_ASCEND))
	if err != nil {
		return nil, err
	}
	if len(resp.Kvs) == 0 {
		return nil, errNoLeader
	}
	return &v3electionpb.LeaderResponse{Header: resp.Header, Kv: resp.Kvs[0]}, nil
}

func (s *electionServer) Resign(
	ctx context.Context, r *v3electionpb.ResignRequest,
) (*v3electionpb.ResignResponse, error) {
	if r.Leader == nil {
		return nil, errNoLeaderField
	}
	resp, err := s.close(ctx, &lockSession{key: r.Leader.Key, created: r.Leader.Rev})
	if err != nil {
		return nil, err
	}
	return &v3electionpb.ResignResponse{Header: resp.Header}, nil
}

// Observe sends the current leader, each value that it proclaims, and each following leader.
func (s *electionServer) Observe(r *v3electionpb.LeaderRequest, stream v3electionpb.Election_ObserveServer) error {
	for {
		if err := s.observeOne(stream.Context(), sessionPrefix(r.Name), stream); err != nil {
			return err
		}
	}
}

// observeOne waits for a leader and sends it and its values until its key is deleted.
func (s *electionServer) observeOne(
	ctx context.Context, prefix []byte, stream v3electionpb.Election_ObserveServer,
) error {
	resp, err := s.kv.first(ctx, below(prefix, pb.RangeRequest_ASCEND))
	if err != nil {
		return err
	}
	leader := &v3electionpb.LeaderResponse{Header: resp.Header}
	if len(resp.Kvs) > 0 {
		leader.Kv = resp.Kvs[0]
	} else if leader.Kv, err = s.firstPut(ctx, prefix, resp.Header.Revision); err != nil {
		return err
	}
	leader.Header.Revision = max(leader.Header.Revision, leader.Kv.ModRevision)
	if err := stream.Send(leader); err != nil {
		return err
	}
	r := &pb.WatchCreateRequest{Key: leader.Kv.Key, StartRevision: leader.Header.Revision + 1}
	return s.watch(ctx, r, func(revision int64, ev *mvccpb.Event) error {
		if ev.Type == mvccpb.Event_DELETE {
			return errWatchDone
		}
		header := s.header(logstructured.Revision(revision))
		return stream.Send(&v3electionpb.LeaderResponse{Header: header, Kv: ev.Kv})
	})
}

// firstPut waits for the first campaign.
func (s *electionServer) firstPut(
	ctx context.Context, prefix []byte, from int64,
) (kv *mvccpb.KeyValue, err error) {
	r := &pb.WatchCreateRequest{
		Key: prefix, RangeEnd: keyrange.Prefix(prefix).End, StartRevision: from + 1,
		Filters: []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NODELETE},
	}
	err = s.watch(ctx, r, func(_ int64, ev *mvccpb.Event) error {
		kv = ev.Kv
		return errWatchDone
	})
	return kv, err
}
