package server

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

var (
	errStreamSort   = status.Error(codes.Unimplemented, "RangeStream does not support custom sort orders")
	errStreamFilter = status.Error(codes.Unimplemented, "RangeStream does not support revision filters")
)

func checkRange(r *pb.RangeRequest) error {
	if len(r.GetKey()) == 0 {
		return rpctypes.ErrGRPCEmptyKey
	}
	if r.SortOrder < pb.RangeRequest_NONE || r.SortOrder > pb.RangeRequest_DESCEND {
		return rpctypes.ErrGRPCInvalidSortOption
	}
	if r.SortTarget < pb.RangeRequest_KEY || r.SortTarget > pb.RangeRequest_VALUE {
		return rpctypes.ErrGRPCInvalidSortOption
	}
	return nil
}

// checkRangeStream refuses requests that etcd 3.7 cannot stream. Sort order NONE is accepted with any target.
func checkRangeStream(r *pb.RangeRequest) error {
	if err := checkRange(r); err != nil {
		return err
	}
	inKeyOrder := r.SortOrder == pb.RangeRequest_NONE ||
		(r.SortOrder == pb.RangeRequest_ASCEND && r.SortTarget == pb.RangeRequest_KEY)
	if !inKeyOrder {
		return errStreamSort
	}
	if r.MinModRevision != 0 || r.MaxModRevision != 0 || r.MinCreateRevision != 0 || r.MaxCreateRevision != 0 {
		return errStreamFilter
	}
	return nil
}

func checkPut(r *pb.PutRequest) error {
	if len(r.GetKey()) == 0 {
		return rpctypes.ErrGRPCEmptyKey
	}
	if r.IgnoreValue && len(r.Value) != 0 {
		return rpctypes.ErrGRPCValueProvided
	}
	if r.IgnoreLease && r.Lease != 0 {
		return rpctypes.ErrGRPCLeaseProvided
	}
	return nil
}

func checkDeleteRange(r *pb.DeleteRangeRequest) error {
	if len(r.GetKey()) == 0 {
		return rpctypes.ErrGRPCEmptyKey
	}
	return nil
}

// checkTxn checks everything about a transaction that does not depend on the stored data.
func checkTxn(r *pb.TxnRequest, maxOps int) error {
	if err := checkTxnOps(r, maxOps); err != nil {
		return err
	}
	// Overlaps are checked last, when the number of operations is known to be within the limit.
	if err := checkOverlaps(r.Success); err != nil {
		return err
	}
	return checkOverlaps(r.Failure)
}

// checkTxnOps checks the operations one by one. It subtracts the largest of the numbers of compares, success and
// failure operations from the budget maxOps; the rest is the budget of each nested transaction.
func checkTxnOps(r *pb.TxnRequest, maxOps int) error {
	widest := max(len(r.GetCompare()), len(r.GetSuccess()), len(r.GetFailure()))
	if widest > maxOps {
		return rpctypes.ErrGRPCTooManyOps
	}
	for _, c := range r.GetCompare() {
		if len(c.GetKey()) == 0 {
			return rpctypes.ErrGRPCEmptyKey
		}
	}
	for _, op := range r.GetSuccess() {
		if err := checkOp(op, maxOps-widest); err != nil {
			return err
		}
	}
	for _, op := range r.GetFailure() {
		if err := checkOp(op, maxOps-widest); err != nil {
			return err
		}
	}
	return nil
}

func checkOp(op *pb.RequestOp, maxOps int) error {
	switch o := op.GetRequest().(type) {
	case *pb.RequestOp_RequestRange:
		return checkRange(o.RequestRange)
	case *pb.RequestOp_RequestPut:
		return checkPut(o.RequestPut)
	case *pb.RequestOp_RequestDeleteRange:
		return checkDeleteRange(o.RequestDeleteRange)
	case *pb.RequestOp_RequestTxn:
		return checkTxnOps(o.RequestTxn, maxOps)
	default:
		return rpctypes.ErrGRPCKeyNotFound
	}
}

// readOnly reports whether etcd evaluates r without its log: r has only ranges, and no nested transaction.
func readOnly(r *pb.TxnRequest) bool {
	return onlyRanges(r.Success) && onlyRanges(r.Failure)
}

func onlyRanges(ops []*pb.RequestOp) bool {
	for _, op := range ops {
		if op.GetRequestRange() == nil {
			return false
		}
	}
	return true
}

// serializable reports whether r may be answered without querying the database: r has ranges, and all of them are
// serializable. (etcd also treats a transaction of compares alone as serializable; here it stays linearizable, which
// costs little.)
func serializable(r *pb.TxnRequest) bool {
	if len(r.Success)+len(r.Failure) == 0 {
		return false
	}
	for _, ops := range [][]*pb.RequestOp{r.Success, r.Failure} {
		for _, op := range ops {
			if rr := op.GetRequestRange(); rr == nil || !rr.Serializable {
				return false
			}
		}
	}
	return true
}

// etcd measures the request as its log stores it: wrapped in one more field (tag and length), after a header with a
// request ID (2 bytes of tag, 1 of length, 1 of tag, and an ID of 9 or 10). Reads are not measured.
const (
	logHeaderBytes = 14
	// No scalar field of a request takes more than this in its encoding; rounded up generously.
	scalarsBound = 64
)

// checkSize compares the size of r with the limit. bound is a cheap upper bound of the encoded size of r, so that only
// requests near the limit are measured.
func checkSize(r proto.Message, bound, limit int) error {
	if bound+logHeaderBytes+scalarsBound <= limit {
		return nil
	}
	if protowire.SizeTag(1)+protowire.SizeBytes(proto.Size(r))+logHeaderBytes > limit {
		return rpctypes.ErrGRPCRequestTooLarge
	}
	return nil
}

func boundOfPut(r *pb.PutRequest) int { return scalarsBound + len(r.Key) + len(r.Value) }

func boundOfDeleteRange(r *pb.DeleteRangeRequest) int {
	return scalarsBound + len(r.Key) + len(r.RangeEnd)
}

func boundOfRange(r *pb.RangeRequest) int {
	// Up to seven varints of 10 bytes, plus the keys.
	return 2*scalarsBound + len(r.Key) + len(r.RangeEnd)
}

func boundOfTxn(r *pb.TxnRequest) int {
	n := scalarsBound
	for _, c := range r.Compare {
		n += scalarsBound + len(c.Key) + len(c.RangeEnd) + len(c.GetValue())
	}
	return n + boundOfOps(r.Success) + boundOfOps(r.Failure)
}

func boundOfOps(ops []*pb.RequestOp) int {
	n := 0
	for _, op := range ops {
		n += scalarsBound
		switch o := op.Request.(type) {
		case *pb.RequestOp_RequestRange:
			n += boundOfRange(o.RequestRange)
		case *pb.RequestOp_RequestPut:
			n += boundOfPut(o.RequestPut)
		case *pb.RequestOp_RequestDeleteRange:
			n += boundOfDeleteRange(o.RequestDeleteRange)
		case *pb.RequestOp_RequestTxn:
			n += boundOfTxn(o.RequestTxn)
		}
	}
	return n
}
