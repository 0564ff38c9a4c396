package server

import (
	"bytes"
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
	if len(r.RangeEnd) == 0 { // one value: interceptUnaryAnswer waits for room for it
		return s.first(ctx, r)
	}
	return evaluate(ctx, func(budget *unaryBudget) (*pb.RangeResponse, error) { return s.read(ctx, r, budget) })
}

// first serves a valid Range request whose response has at most one key.
func (s *kvServer) first(ctx context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	return respond(s.read(ctx, r, nil))
}

func (s *kvServer) read(ctx context.Context, r *pb.RangeRequest, budget *unaryBudget) (*pb.RangeResponse, error) {
	req := toRange(r)
	if budget != nil {
		req.Budget = budget
	}
	result, err := authorized(ctx, s.auth, r, func(guard logstructured.Guard) (*logstructured.RangeResult, error) {
		return s.store.Range(ctx, guard, req)
	})
	if err != nil {
		return nil, err
	}
	resp := newRange(result)
	s.setHeader(resp.Header, result.Revision)
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
		return s.store.Put(ctx, guard, req)
	})
	if err != nil {
		return nil, toStatus(err)
	}
	resp := newPut(result)
	s.setHeader(resp.Header, result.Revision)
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
	type result = *logstructured.DeleteRangeResult
	deleted, err := authorized(ctx, s.auth, r, func(guard logstructured.Guard) (result, error) {
		return s.store.DeleteRange(ctx, guard, req)
	})
	if err != nil {
		return nil, toStatus(err)
	}
	resp := newDeleteRange(deleted)
	s.setHeader(resp.Header, deleted.Revision)
	return resp, nil
}

func (s *kvServer) Txn(ctx context.Context, r *pb.TxnRequest) (*pb.TxnResponse, error) {
	if err := checkTxn(r, s.maxTxnOps); err != nil {
		return nil, err
	}
	if readOnly(r) {
		return evaluate(ctx, func(budget *unaryBudget) (*pb.TxnResponse, error) { return s.txn(ctx, r, budget) })
	}
	if err := checkSize(r, boundOfTxn(r), s.maxRequestBytes); err != nil {
		return nil, err
	}
	return respond(s.txn(ctx, r, nil))
}

func (s *kvServer) txn(ctx context.Context, r *pb.TxnRequest, budget *unaryBudget) (*pb.TxnResponse, error) {
	req := toTxn(r)
	if budget != nil {
		setBudget(req, budget)
	}
	result, err := authorized(ctx, s.auth, r, func(guard logstructured.Guard) (*logstructured.TxnResult, error) {
		return s.store.Txn(ctx, guard, req)
	})
	if err != nil {
		return nil, err
	}
	resp := newTxn(result)
	s.setHeader(resp.Header, result.Revision)
	return resp, nil
}

// setBudget makes all ranges of a transaction, nested ones included, read within budget.
func setBudget(r *logstructured.TxnRequest, budget logstructured.Budget) {
	for _, branch := range [][]logstructured.Op{r.Success, r.Failure} {
		for _, op := range branch {
			switch op := op.(type) {
			case *logstructured.RangeRequest:
				op.Budget = budget
			case *logstructured.TxnRequest:
				setBudget(op, budget)
			}
		}
	}
}

func (s *kvServer) Compact(ctx context.Context, r *pb.CompactionRequest) (*pb.CompactionResponse, error) {
	revision, err := authorized(ctx, s.auth, r, func(guard logstructured.Guard) (logstructured.Revision, error) {
		return s.store.Compact(ctx, guard, logstructured.Revision(r.Revision), r.Physical)
	})
	if err != nil {
		return nil, toStatus(err)
	}
	return &pb.CompactionResponse{Header: s.header(revision)}, nil
}

// firstChunk is the number of keys in the first message of a stream, the same as in etcd.
const firstChunk = 10

// RangeStream sends the response of Range in messages of about the request limit, all read at one revision. Header,
// More and Count are set in the last message only, so that the merged messages equal the response of Range.
//
// As in etcd, a sort target without a sort order sorts each message by itself, and the next message begins after the
// last key of the sorted one. If there are several messages, keys may be missing or come twice.
func (s *kvServer) RangeStream(r *pb.RangeRequest, stream pb.KV_RangeStreamServer) error {
	if err := checkRangeStream(r); err != nil {
		return err
	}
	req := toRange(r)
	sorted := req.SortTarget != logstructured.SortByKey
	chunk, remaining := streamLimits(r)
	budget := newStreamBudget(stream.Context())
	if budget != nil {
		defer budget.drop()
		budget.whole = sorted
		req.Budget = budget
	}

	var (
		pinned logstructured.Revision
		sent   int64
	)
	for {
		req.Limit = min(chunk, remaining)
		result, err := s.readChunk(stream.Context(), r, req)
		if err != nil {
			return toStatus(err)
		}
		if pinned == 0 {
			pinned = result.Revision
			if req.Revision <= 0 {
				req.Revision = pinned
			}
			req.Serializable = true // the applied state is at least as new as for the first message
		}
		n := int64(len(result.KVs))
		remaining -= n
		if result.More {
			req.Key = append(bytes.Clone(result.KVs[n-1].Key), 0)
		}
		out := &pb.RangeResponse{Kvs: result.KVs}
		last := r.CountOnly || !result.More || remaining <= 0
		if last {
			out.Header = s.header(pinned)
			out.More = result.More
			out.Count = sent + result.Count
			if sorted && result.More { // the keys before req.Key are not those that were sent
				req.CountOnly = true
				rest, err := s.readChunk(stream.Context(), r, req)
				if err != nil {
					return toStatus(err)
				}
				out.Count = sent + n + rest.Count
			}
		}
		if err := budget.send(stream, &pb.RangeStreamResponse{RangeResponse: out}); err != nil {
			return err
		}
		if last {
			return nil
		}
		sent += n
		if chunk = nextChunk(chunk, proto.Size(out), s.maxRequestBytes); n < req.Limit {
			chunk = n // there was no room for more
		}
	}
}

// streamLimits returns how many keys the first message of a stream and all its messages together may have.
func streamLimits(r *pb.RangeRequest) (first, all int64) {
	switch {
	case r.CountOnly:
		return firstChunk, 0
	case r.Limit > 0:
		return firstChunk, r.Limit
	case r.Limit < 0 && r.SortTarget != pb.RangeRequest_KEY:
		// etcd sends everything in one message; without a sort target the client sees no difference.
		return math.MaxInt64, math.MaxInt64
	}
	return firstChunk, math.MaxInt64
}

// readChunk reads the keys of one message of a stream.
func (s *kvServer) readChunk(
	ctx context.Context, r *pb.RangeRequest, req *logstructured.RangeRequest,
) (*logstructured.RangeResult, error) {
	return authorized(ctx, s.auth, r, func(guard logstructured.Guard) (*logstructured.RangeResult, error) {
		return s.store.Range(ctx, guard, req)
	})
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
