package server

import (
	"context"
	"math"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"github.com/stele-db/stele/logstructured"
)

// kvServer is etcd's KV service.
type kvServer struct {
	pb.UnsafeKVServer
	*member
	maxRequestBytes int
	maxTxnOps       int
}

func (s *kvServer) Range(ctx context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	if err := checkRange(r); err != nil {
		return nil, err
	}
	req := toRange(r)
	result, err := authorized(ctx, s.auth, r, func(guard logstructured.Guard) (*logstructured.RangeResult, error) {
		req.Guard = guard
		return s.store.Range(ctx, req)
	})
	if err != nil {
		return nil, toStatus(err)
	}
	resp, header := newRange(result)
	s.header(header, result.Revision)
	return resp, nil
}

func (s *kvServer) Put(ctx context.Context, r *pb.PutRequest) (*pb.PutResponse, error) {
	if err := checkPut(r); err != nil {
		return nil, err
	}
	if err := checkSize(r, boundOfPut(r), s.maxRequestBytes); err != nil {
		return nil, err
	}
	req := toPut(r)
	result, err := authorized(ctx, s.auth, r, func(guard logstructured.Guard) (*logstructured.PutResult, error) {
		req.Guard = guard
		return s.store.Put(ctx, req)
	})
	if err != nil {
		return nil, toStatus(err)
	}
	resp, header := newPut(result)
	s.header(header, result.Revision)
	return resp, nil
}

func (s *kvServer) DeleteRange(ctx context.Context, r *pb.DeleteRangeRequest) (*pb.DeleteRangeResponse, error) {
	if err := checkDeleteRange(r); err != nil {
		return nil, err
	}
	if err := checkSize(r, boundOfDeleteRange(r), s.maxRequestBytes); err != nil {
		return nil, err
	}
	req := toDeleteRange(r)
	result, err := authorized(ctx, s.auth, r, func(guard logstructured.Guard) (*logstructured.DeleteRangeResult, error) {
		req.Guard = guard
		return s.store.DeleteRange(ctx, req)
	})
	if err != nil {
		return nil, toStatus(err)
	}
	resp, header := newDeleteRange(result)
	s.header(header, result.Revision)
	return resp, nil
}

func (s *kvServer) Txn(ctx context.Context, r *pb.TxnRequest) (*pb.TxnResponse, error) {
	if err := checkTxn(r, s.maxTxnOps); err != nil {
		return nil, err
	}
	if !readOnly(r) {
		if err := checkSize(r, boundOfTxn(r), s.maxRequestBytes); err != nil {
			return nil, err
		}
	}
	req := toTxn(r)
	result, err := authorized(ctx, s.auth, r, func(guard logstructured.Guard) (*logstructured.TxnResult, error) {
		req.Guard = guard
		return s.store.Txn(ctx, req)
	})
	if err != nil {
		return nil, toStatus(err)
	}
	resp, header := newTxn(result)
	s.header(header, result.Revision)
	return resp, nil
}

func (s *kvServer) Compact(ctx context.Context, r *pb.CompactionRequest) (*pb.CompactionResponse, error) {
	if err := s.auth.admitted(ctx, r); err != nil {
		return nil, toStatus(err)
	}
	revision, err := s.store.Compact(ctx, logstructured.Revision(r.Revision), r.Physical)
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.CompactionResponse{Header: s.header(&pb.ResponseHeader{}, revision)}, nil
}

// firstChunk is the number of keys in the first message of a stream; etcd's.
const firstChunk = 10

// RangeStream sends the answer of Range in messages of about the request limit, all read at one revision. Header, more and
// count come with the last one, so that the merge of all is what Range would have answered.
func (s *kvServer) RangeStream(r *pb.RangeRequest, stream pb.KV_RangeStreamServer) error {
	if err := checkRangeStream(r); err != nil {
		return err
	}
	req := toRange(r)
	req.SortTarget, req.SortOrder = logstructured.SortByKey, logstructured.SortNone
	left := int64(math.MaxInt64)
	if r.Limit > 0 {
		left = r.Limit
	}
	if r.CountOnly {
		left = 0
	}
	chunk := int64(firstChunk)

	var (
		pinned logstructured.Revision
		sent   int64
	)
	for {
		req.Limit = min(chunk, left)
		result, err := authorized(stream.Context(), s.auth, r, func(guard logstructured.Guard) (*logstructured.RangeResult, error) {
			req.Guard = guard
			return s.store.Range(stream.Context(), req)
		})
		if err != nil {
			return toStatus(err)
		}
		if pinned == 0 {
			pinned = result.Revision
			if req.Revision <= 0 {
				req.Revision = pinned
			}
			req.Serializable = true // the state is no older than the first message's
		}
		n := int64(len(result.KVs))
		left -= n
		out := &pb.RangeResponse{Kvs: result.KVs}
		last := r.CountOnly || !result.More || left <= 0
		if last {
			out.Header = s.header(&pb.ResponseHeader{}, pinned)
			out.More = result.More && !r.CountOnly
			out.Count = sent + result.Count
		}
		if err := stream.Send(&pb.RangeStreamResponse{RangeResponse: out}); err != nil {
			return err
		}
		if last {
			return nil
		}
		sent += n
		chunk = nextChunk(chunk, proto.Size(out), s.maxRequestBytes)
		after := result.KVs[n-1].Key
		req.Key = append(append(make([]byte, 0, len(after)+1), after...), 0)
	}
}

// nextChunk doubles or halves the number of keys of a message when the last one's size was off by more than a factor
// of two.
func nextChunk(chunk int64, size, target int) int64 {
	switch {
	case size < target/2:
		return chunk * 2
	case size > target*2:
		return max(chunk/2, 1)
	}
	return chunk
}
