package server

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/stele-db/stele/logstructured"
)

// Only this file translates between etcd's messages and the store's types. Keys, values and KeyValues are passed on
// without copying.

func toRange(r *pb.RangeRequest) *logstructured.RangeRequest {
	return &logstructured.RangeRequest{
		KeyRange:          logstructured.KeyRange{Key: r.Key, End: r.RangeEnd},
		Revision:          logstructured.Revision(r.Revision),
		Limit:             r.Limit,
		SortTarget:        toSortTarget[r.SortTarget],
		SortOrder:         toSortOrder[r.SortOrder],
		Serializable:      r.Serializable,
		KeysOnly:          r.KeysOnly,
		CountOnly:         r.CountOnly,
		MinModRevision:    logstructured.Revision(r.MinModRevision),
		MaxModRevision:    logstructured.Revision(r.MaxModRevision),
		MinCreateRevision: logstructured.Revision(r.MinCreateRevision),
		MaxCreateRevision: logstructured.Revision(r.MaxCreateRevision),
	}
}

// Both are indexed by enumerations whose range checkRange has checked.
var (
	toSortTarget = [...]logstructured.SortTarget{
		pb.RangeRequest_KEY:     logstructured.SortByKey,
		pb.RangeRequest_VERSION: logstructured.SortByVersion,
		pb.RangeRequest_CREATE:  logstructured.SortByCreateRevision,
		pb.RangeRequest_MOD:     logstructured.SortByModRevision,
		pb.RangeRequest_VALUE:   logstructured.SortByValue,
	}
	toSortOrder = [...]logstructured.SortOrder{
		pb.RangeRequest_NONE:    logstructured.SortNone,
		pb.RangeRequest_ASCEND:  logstructured.SortAscend,
		pb.RangeRequest_DESCEND: logstructured.SortDescend,
	}
)

func toPut(r *pb.PutRequest) *logstructured.PutRequest {
	return &logstructured.PutRequest{
		Key:         r.Key,
		Value:       r.Value,
		Lease:       logstructured.LeaseID(r.Lease),
		PrevKV:      r.PrevKv,
		IgnoreValue: r.IgnoreValue,
		IgnoreLease: r.IgnoreLease,
	}
}

func toDeleteRange(r *pb.DeleteRangeRequest) *logstructured.DeleteRangeRequest {
	return &logstructured.DeleteRangeRequest{
		KeyRange: logstructured.KeyRange{Key: r.Key, End: r.RangeEnd},
		PrevKV:   r.PrevKv,
	}
}

func toTxn(r *pb.TxnRequest) *logstructured.TxnRequest {
	out := &logstructured.TxnRequest{
		Success:      toOps(r.Success),
		Failure:      toOps(r.Failure),
		Serializable: serializable(r),
	}
	if len(r.Compare) > 0 {
		out.Compares = make([]logstructured.Compare, len(r.Compare))
		for i, c := range r.Compare {
			toCompare(c, &out.Compares[i])
		}
	}
	return out
}

func toOps(ops []*pb.RequestOp) []logstructured.Op {
	if len(ops) == 0 {
		return nil
	}
	out := make([]logstructured.Op, len(ops))
	for i, op := range ops {
		switch o := op.Request.(type) {
		case *pb.RequestOp_RequestRange:
			out[i] = toRange(o.RequestRange)
		case *pb.RequestOp_RequestPut:
			out[i] = toPut(o.RequestPut)
		case *pb.RequestOp_RequestDeleteRange:
			out[i] = toDeleteRange(o.RequestDeleteRange)
		case *pb.RequestOp_RequestTxn:
			out[i] = toTxn(o.RequestTxn)
		}
	}
	return out
}

// outOfEnum is not a member of any of the store's enumerations. It stands for numbers that etcd does not know, which
// truncation to a byte could turn into valid ones.
const outOfEnum = 0xff

// toCompare fills in c. A union value that does not belong to the target counts as unset, that is, as zero.
func toCompare(r *pb.Compare, c *logstructured.Compare) {
	c.KeyRange = logstructured.KeyRange{Key: r.Key, End: r.RangeEnd}
	c.Result = outOfEnum
	switch r.Result {
	case pb.Compare_EQUAL:
		c.Result = logstructured.CompareEqual
	case pb.Compare_GREATER:
		c.Result = logstructured.CompareGreater
	case pb.Compare_LESS:
		c.Result = logstructured.CompareLess
	case pb.Compare_NOT_EQUAL:
		c.Result = logstructured.CompareNotEqual
	}
	c.Target = outOfEnum
	switch r.Target {
	case pb.Compare_VERSION:
		c.Target, c.Number = logstructured.CompareVersion, r.GetVersion()
	case pb.Compare_CREATE:
		c.Target, c.Number = logstructured.CompareCreateRevision, r.GetCreateRevision()
	case pb.Compare_MOD:
		c.Target, c.Number = logstructured.CompareModRevision, r.GetModRevision()
	case pb.Compare_VALUE:
		c.Target, c.Value = logstructured.CompareValue, r.GetValue()
	case pb.Compare_LEASE:
		c.Target, c.Number = logstructured.CompareLease, r.GetLease()
	}
}

// A response and its header share one allocation.
type (
	rangeAnswer struct {
		pb.RangeResponse
		header pb.ResponseHeader
	}
	putAnswer struct {
		pb.PutResponse
		header pb.ResponseHeader
	}
	deleteRangeAnswer struct {
		pb.DeleteRangeResponse
		header pb.ResponseHeader
	}
	txnAnswer struct {
		pb.TxnResponse
		header pb.ResponseHeader
	}
)

// newRange, newPut, newDeleteRange and newTxn return a response whose header the caller has to fill in.

func newRange(r *logstructured.RangeResult) *pb.RangeResponse {
	a := &rangeAnswer{}
	a.Header, a.Kvs, a.More, a.Count = &a.header, r.KVs, r.More, r.Count
	return &a.RangeResponse
}

func newPut(r *logstructured.PutResult) *pb.PutResponse {
	a := &putAnswer{}
	a.Header, a.PrevKv = &a.header, r.PrevKV
	return &a.PutResponse
}

func newDeleteRange(r *logstructured.DeleteRangeResult) *pb.DeleteRangeResponse {
	a := &deleteRangeAnswer{}
	a.Header, a.Deleted, a.PrevKvs = &a.header, r.Deleted, r.PrevKVs
	return &a.DeleteRangeResponse
}

func newTxn(r *logstructured.TxnResult) *pb.TxnResponse {
	a := &txnAnswer{}
	a.Header, a.Succeeded = &a.header, r.Succeeded
	if len(r.Results) > 0 {
		a.Responses = make([]*pb.ResponseOp, len(r.Results))
		for i, result := range r.Results {
			a.Responses[i] = newOp(result)
		}
	}
	return &a.TxnResponse
}

// newOp returns the response to an operation inside a transaction. Its header has only the revision, and the header of
// a nested transaction is empty.
func newOp(result logstructured.OpResult) *pb.ResponseOp {
	op := &pb.ResponseOp{}
	switch r := result.(type) {
	case *logstructured.RangeResult:
		resp := newRange(r)
		resp.Header.Revision = int64(r.Revision)
		op.Response = &pb.ResponseOp_ResponseRange{ResponseRange: resp}
	case *logstructured.PutResult:
		resp := newPut(r)
		resp.Header.Revision = int64(r.Revision)
		op.Response = &pb.ResponseOp_ResponsePut{ResponsePut: resp}
	case *logstructured.DeleteRangeResult:
		resp := newDeleteRange(r)
		resp.Header.Revision = int64(r.Revision)
		op.Response = &pb.ResponseOp_ResponseDeleteRange{ResponseDeleteRange: resp}
	case *logstructured.TxnResult:
		op.Response = &pb.ResponseOp_ResponseTxn{ResponseTxn: newTxn(r)}
	}
	return op
}

func toWatch(r *pb.WatchCreateRequest) logstructured.WatchRequest {
	out := logstructured.WatchRequest{
		KeyRange:       logstructured.KeyRange{Key: r.Key, End: r.RangeEnd},
		ID:             logstructured.WatchID(r.WatchId),
		StartRevision:  logstructured.Revision(r.StartRevision),
		PrevKV:         r.PrevKv,
		ProgressNotify: r.ProgressNotify,
		Fragment:       r.Fragment,
	}
	for _, f := range r.Filters {
		switch f {
		case pb.WatchCreateRequest_NOPUT:
			out.NoPut = true
		case pb.WatchCreateRequest_NODELETE:
			out.NoDelete = true
		}
	}
	return out
}
