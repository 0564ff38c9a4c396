package crash

import (
	"errors"
	"fmt"
	"math"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Outcome is the result of a request as far as its client knows.
type Outcome uint8

const (
	// Acked requests were answered.
	Acked Outcome = iota
	// Rejected requests were refused: they have not changed and will not change anything.
	Rejected
	// Unknown requests may take effect once, at any time after the call, or never.
	Unknown
)

// Op is one request of one client.
type Op struct {
	Client int
	// Server is the index of the server that received the request.
	Server int
	// Call and Return are times since the start of the run. The order of overlapping requests is unknown.
	Call, Return time.Duration
	Request      proto.Message
	// Response is set exactly for acknowledged requests; its headers contain only a revision.
	Response proto.Message
	Outcome  Outcome
	// Term is the raft term in the header of the answer.
	Term uint64
	// Err is the error of a rejected request or of one with unknown outcome.
	Err error
}

func (op *Op) String() string {
	answer := fmt.Sprint(op.Err)
	if op.Outcome == Acked {
		answer = brief(op.Response)
	}
	return fmt.Sprintf("client %d server %d [%v, %v] %T %s -> %s", op.Client, op.Server, op.Call, op.Return,
		op.Request, brief(op.Request), answer)
}

func brief(m any) string {
	s := fmt.Sprint(m)
	if len(s) > 600 {
		return s[:600] + "..."
	}
	return s
}

// revision returns the revision in the header of a response, or 0.
func revision(response proto.Message) int64 {
	r, ok := response.(interface{ GetHeader() *pb.ResponseHeader })
	if !ok {
		return 0
	}
	return r.GetHeader().GetRevision()
}

// serializable reports whether a request is a serializable read, whose answer may be outdated.
func (op *Op) serializable() bool {
	r, ok := op.Request.(*pb.RangeRequest)
	return ok && r.Serializable
}

// readOnly reports whether a request cannot change anything. A compaction is not read-only.
func (op *Op) readOnly() bool {
	switch r := op.Request.(type) {
	case *pb.RangeRequest:
		return true
	case *pb.TxnRequest:
		return !writes(r)
	default:
		return false
	}
}

func writes(r *pb.TxnRequest) bool {
	for _, ops := range [][]*pb.RequestOp{r.Success, r.Failure} {
		for _, op := range ops {
			if op.GetRequestPut() != nil || op.GetRequestDeleteRange() != nil {
				return true
			}
			if nested := op.GetRequestTxn(); nested != nil && writes(nested) {
				return true
			}
		}
	}
	return false
}

// revisions returns the revisions at which the request reads. Of an answered transaction it returns only those in the
// branches that were taken.
func (op *Op) revisions() []int64 {
	switch r := op.Request.(type) {
	case *pb.RangeRequest:
		return rangeRevision(nil, r)
	case *pb.TxnRequest:
		answer, _ := op.Response.(*pb.TxnResponse)
		return txnRevisions(nil, r, answer)
	default:
		return nil
	}
}

func rangeRevision(revs []int64, r *pb.RangeRequest) []int64 {
	if r.Revision > 0 {
		revs = append(revs, r.Revision)
	}
	return revs
}

// txnRevisions appends the revisions in the branch that answer took, or in both if answer is nil.
func txnRevisions(revs []int64, r *pb.TxnRequest, answer *pb.TxnResponse) []int64 {
	branches := [][]*pb.RequestOp{r.Success, r.Failure}
	switch {
	case answer != nil && answer.Succeeded:
		branches = branches[:1]
	case answer != nil:
		branches = branches[1:]
	}
	for _, ops := range branches {
		for i, op := range ops {
			if rr := op.GetRequestRange(); rr != nil {
				revs = rangeRevision(revs, rr)
			}
			if nested := op.GetRequestTxn(); nested != nil {
				var inner *pb.TxnResponse
				if answer != nil && i < len(answer.Responses) {
					inner = answer.Responses[i].GetResponseTxn()
				}
				revs = txnRevisions(revs, nested, inner)
			}
		}
	}
	return revs
}

// values returns the values of all puts in a request, including branches not taken.
func values(request proto.Message) []string {
	switch r := request.(type) {
	case *pb.PutRequest:
		return []string{string(r.Value)}
	case *pb.TxnRequest:
		var all []string
		for _, ops := range [][]*pb.RequestOp{r.Success, r.Failure} {
			for _, op := range ops {
				if put := op.GetRequestPut(); put != nil {
					all = append(all, string(put.Value))
				}
				if nested := op.GetRequestTxn(); nested != nil {
					all = append(all, values(nested)...)
				}
			}
		}
		return all
	default:
		return nil
	}
}

// classify maps the error of a call to an outcome. Only the codes by which a server refuses a request prove that
// nothing happened; Unavailable may come from a connection that broke after the commit.
func classify(err error) Outcome {
	switch status.Code(err) {
	case codes.OK:
		return Acked
	case codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.FailedPrecondition, codes.OutOfRange,
		codes.Unimplemented, codes.PermissionDenied, codes.Unauthenticated, codes.ResourceExhausted:
		return Rejected
	default:
		return Unknown
	}
}

// modelError returns the error of the model that equals the server's error, or nil.
func modelError(err error) error {
	switch {
	case errors.Is(rpctypes.Error(err), rpctypes.ErrCompacted):
		return errCompacted
	case errors.Is(rpctypes.Error(err), rpctypes.ErrFutureRev):
		return errFuture
	default:
		return nil
	}
}

// leaseNotFound reports whether a put or a revocation failed because its lease had expired.
func leaseNotFound(err error) bool {
	return errors.Is(rpctypes.Error(err), rpctypes.ErrLeaseNotFound)
}

// stripHeaders removes all but the revision from the headers of a response, after checking them. It returns the cluster
// ID and the term.
func stripHeaders(response proto.Message) (cluster, term uint64, err error) {
	r, ok := response.(interface{ GetHeader() *pb.ResponseHeader })
	if !ok || r.GetHeader() == nil {
		return 0, 0, fmt.Errorf("%T without header", response)
	}
	h := r.GetHeader()
	cluster, term = h.ClusterId, h.RaftTerm
	if cluster == 0 || h.MemberId == 0 || term == 0 {
		return 0, 0, fmt.Errorf("header of %T lacks an id or the term: %v", response, h)
	}
	h.ClusterId, h.MemberId, h.RaftTerm = 0, 0, 0
	return cluster, term, nil
}

const forever = time.Duration(math.MaxInt64)
