package differential

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/stele-db/stele/test/internal/target"
)

// requestTimeout is longer than etcd's own.
const requestTimeout = 30 * time.Second

// request is one call.
type request struct {
	message proto.Message
	// stream sends a RangeRequest as RangeStream.
	stream bool
}

func (r request) String() string {
	name := string(r.message.ProtoReflect().Descriptor().Name())
	if r.stream {
		name = "RangeStream"
	}
	text := prototext.MarshalOptions{Multiline: true, Indent: "  "}.Format(r.message)
	if len(text) > 8000 {
		text = fmt.Sprintf("%s... (%d bytes)", text[:8000], len(text))
	}
	return name + " {\n" + text + "}"
}

// answer is the result of a request: a message or an error.
type answer struct {
	message proto.Message
	err     *status.Status
}

func (a answer) String() string {
	if a.err != nil {
		return fmt.Sprintf("error %v: %s", a.err.Code(), a.err.Message())
	}
	text := prototext.MarshalOptions{Multiline: true, Indent: "  "}.Format(a.message)
	if len(text) > 8000 {
		text = fmt.Sprintf("%s... (%d bytes)", text[:8000], len(text))
	}
	return text
}

func (a answer) code() codes.Code { return a.err.Code() }

// header returns the header of the answer, or nil.
func (a answer) header() *pb.ResponseHeader {
	if h, ok := a.message.(interface{ GetHeader() *pb.ResponseHeader }); ok && a.err == nil {
		return h.GetHeader()
	}
	return nil
}

// do sends r.
func do(ctx context.Context, t *target.Target, r request) answer {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	wait := grpc.WaitForReady(true)
	var m proto.Message
	var err error
	switch q := r.message.(type) {
	case *pb.RangeRequest:
		if r.stream {
			m, err = rangeStream(ctx, t, q)
		} else {
			m, err = t.KV.Range(ctx, q, wait)
		}
	case *pb.PutRequest:
		m, err = t.KV.Put(ctx, q, wait)
	case *pb.DeleteRangeRequest:
		m, err = t.KV.DeleteRange(ctx, q, wait)
	case *pb.TxnRequest:
		m, err = t.KV.Txn(ctx, q, wait)
	case *pb.CompactionRequest:
		m, err = t.KV.Compact(ctx, q, wait)
	case *pb.HashKVRequest:
		m, err = t.Maintenance.HashKV(ctx, q, wait)
	case *pb.LeaseGrantRequest:
		m, err = t.Lease.LeaseGrant(ctx, q, wait)
	default:
		panic(fmt.Sprintf("no call for %T", r.message))
	}
	if err != nil {
		return answer{err: status.Convert(err)}
	}
	return answer{message: m}
}

// rangeStream joins the chunks of a stream. Only the last chunk may have a header, more and count, and only the last
// one may have no keys; anything else is an error. The sizes of chunks are not compared.
func rangeStream(ctx context.Context, t *target.Target, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	stream, err := t.KV.RangeStream(ctx, r, grpc.WaitForReady(true))
	if err != nil {
		return nil, err
	}
	joined := &pb.RangeResponse{}
	for chunks := 0; ; chunks++ {
		c, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if joined.Header == nil {
				return nil, fmt.Errorf("stream of %d chunks ended without a header", chunks)
			}
			return joined, nil
		}
		if err != nil {
			return nil, err
		}
		chunk := c.GetRangeResponse()
		if joined.Header != nil {
			return nil, errors.New("a chunk after the one with the header")
		}
		if chunk.GetHeader() == nil && (chunk.GetMore() || chunk.GetCount() != 0 || len(chunk.GetKvs()) == 0) {
			return nil, fmt.Errorf("a chunk without header has more=%v, count=%d, %d keys", chunk.GetMore(),
				chunk.GetCount(), len(chunk.GetKvs()))
		}
		joined.Header, joined.More, joined.Count = chunk.GetHeader(), chunk.GetMore(), chunk.GetCount()
		joined.Kvs = append(joined.Kvs, chunk.GetKvs()...)
	}
}

// normalize replaces the identities of the server in the outermost header, which may differ unless they are zero.
func normalize(a answer) {
	h := a.header()
	if h == nil {
		return
	}
	for _, id := range []*uint64{&h.ClusterId, &h.MemberId, &h.RaftTerm} {
		if *id != 0 {
			*id = 1
		}
	}
}

// diff returns the difference of two answers, or "" if they are equal.
func diff(reference, subject answer) string {
	normalize(reference)
	normalize(subject)
	if reference.err != nil || subject.err != nil {
		if reference.err.Code() == subject.err.Code() && reference.err.Message() == subject.err.Message() {
			return ""
		}
		return "one of them is an error, or the errors differ"
	}
	if h := reference.header(); h != nil && (h.ClusterId == 0 || h.MemberId == 0 || h.RaftTerm == 0) {
		return "the header lacks an identity"
	}
	if proto.Equal(reference.message, subject.message) {
		return ""
	}
	return cmp.Diff(reference.message, subject.message, protocmp.Transform())
}

// report describes a difference so that a developer can repeat it by hand.
func report(r request, reference, subject answer, difference string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "request: %v\nreference: %v\nsubject: %v\ndifference (-reference +subject): %s", r, reference,
		subject, difference)
	return b.String()
}
