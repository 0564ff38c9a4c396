package crash

import (
	"bytes"
	"errors"
	"hash/maphash"
	"sort"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

// The errors of the model.
var (
	errCompacted = errors.New("compacted")
	errFuture    = errors.New("future revision")
)

// State is etcd's key space at one revision and, through prev, at every earlier one. It is immutable.
type State struct {
	Rev int64
	// Compacted is the compact revision; 0 is none.
	Compacted int64
	// kvs are sorted by key.
	kvs  []*mvccpb.KeyValue
	prev *State
	// sum is a hash of the whole history: states with equal sums give equal answers at every revision.
	sum uint64
}

// newState returns the state of an empty store.
func newState() *State { return &State{Rev: 1} }

func (s *State) equal(o *State) bool {
	return s.Rev == o.Rev && s.Compacted == o.Compacted && s.sum == o.sum
}

// compactedAt returns s with another compact revision.
func (s *State) compactedAt(rev int64) *State {
	c := *s
	c.Compacted = rev
	return &c
}

// at returns the state at rev, which is at most s.Rev.
func (s *State) at(rev int64) *State {
	for s.Rev > rev && s.prev != nil {
		s = s.prev
	}
	return s
}

// inRange reports whether key is in the range [from, end), in etcd's notation.
func inRange(key, from, end []byte) bool {
	switch {
	case len(end) == 0:
		return bytes.Equal(key, from)
	case len(end) == 1 && end[0] == 0:
		return bytes.Compare(key, from) >= 0
	default:
		return bytes.Compare(key, from) >= 0 && bytes.Compare(key, end) < 0
	}
}

func (s *State) find(key []byte) (int, *mvccpb.KeyValue) {
	i := sort.Search(len(s.kvs), func(i int) bool { return bytes.Compare(s.kvs[i].Key, key) >= 0 })
	if i < len(s.kvs) && bytes.Equal(s.kvs[i].Key, key) {
		return i, s.kvs[i]
	}
	return i, nil
}

func (s *State) within(from, end []byte) []*mvccpb.KeyValue {
	var found []*mvccpb.KeyValue
	for _, kv := range s.kvs {
		if inRange(kv.Key, from, end) {
			found = append(found, kv)
		}
	}
	return found
}

// Expire is the expiry of a lease: it deletes keys without a client's request.
type Expire struct {
	Keys [][]byte
}

// Result is the answer to a request and its effect.
type Result struct {
	// Response has only a revision in its headers. It is nil for Expire.
	Response proto.Message
	// Events are the events of the new revision, with prev_kv; empty if the request changed nothing.
	Events []*mvccpb.Event
	Next   *State
}

// Apply evaluates a request: *pb.RangeRequest, *pb.PutRequest, *pb.DeleteRangeRequest, *pb.TxnRequest,
// *pb.LeaseRevokeRequest, *pb.CompactionRequest or *Expire. The errors are errCompacted and errFuture.
func (s *State) Apply(request any) (Result, error) {
	w := &writer{before: s, now: s}
	var response proto.Message
	switch r := request.(type) {
	case *pb.RangeRequest:
		resp, err := s.read(r)
		if err != nil {
			return Result{}, err
		}
		response = resp
	case *pb.PutRequest:
		response = w.put(r)
	case *pb.DeleteRangeRequest:
		response = w.deleteRange(r)
	case *pb.TxnRequest:
		if err := s.checkTxn(r); err != nil {
			return Result{}, err
		}
		resp := w.txn(r)
		resp.Header.Revision = w.now.Rev
		response = resp
	case *pb.LeaseRevokeRequest:
		for _, kv := range s.kvs {
			if kv.Lease == r.ID {
				w.deleteRange(&pb.DeleteRangeRequest{Key: kv.Key})
			}
		}
		response = &pb.LeaseRevokeResponse{Header: header(w.now.Rev)}
	case *pb.CompactionRequest:
		if r.Revision <= s.Compacted {
			return Result{}, errCompacted
		}
		if r.Revision > s.Rev {
			return Result{}, errFuture
		}
		return Result{Response: &pb.CompactionResponse{Header: header(s.Rev)}, Next: s.compactedAt(r.Revision)}, nil
	case *Expire:
		for _, key := range r.Keys {
			w.deleteRange(&pb.DeleteRangeRequest{Key: key})
		}
	default:
		panic("crash: unknown request")
	}
	if len(w.events) > 0 {
		w.now.sum = chain(s.sum, w.events)
	}
	return Result{Response: response, Events: w.events, Next: w.now}, nil
}

func header(rev int64) *pb.ResponseHeader { return &pb.ResponseHeader{Revision: rev} }

var hashSeed = maphash.MakeSeed()

// chain extends the hash of a history by the events of one revision.
func chain(sum uint64, events []*mvccpb.Event) uint64 {
	var h maphash.Hash
	h.SetSeed(hashSeed)
	number := func(n uint64) { maphash.WriteComparable(&h, n) }
	number(sum)
	for _, e := range events {
		number(uint64(e.Type))
		number(uint64(len(e.Kv.Key)))
		_, _ = h.Write(e.Kv.Key)
		number(uint64(len(e.Kv.Value)))
		_, _ = h.Write(e.Kv.Value)
		number(uint64(e.Kv.ModRevision))
		number(uint64(e.Kv.Lease))
	}
	return h.Sum64()
}

// readable returns the error of a read at rev, which is 0 for the current revision.
func (s *State) readable(rev int64) error {
	switch {
	case rev > s.Rev:
		return errFuture
	case rev > 0 && rev < s.Compacted:
		return errCompacted
	default:
		return nil
	}
}

// checkTxn returns the error of the first range that the transaction evaluates. All ranges are checked on the state
// before the transaction.
func (s *State) checkTxn(r *pb.TxnRequest) error {
	ops := r.Success
	if !s.holds(r.Compare) {
		ops = r.Failure
	}
	for _, op := range ops {
		var err error
		if rr := op.GetRequestRange(); rr != nil {
			err = s.readable(rr.Revision)
		}
		if nested := op.GetRequestTxn(); nested != nil {
			err = s.checkTxn(nested)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *State) read(r *pb.RangeRequest) (*pb.RangeResponse, error) {
	if err := s.readable(r.Revision); err != nil {
		return nil, err
	}
	from := s
	if r.Revision > 0 {
		from = s.at(r.Revision)
	}
	kvs := from.within(r.Key, r.RangeEnd)
	resp := &pb.RangeResponse{Header: header(s.Rev), Count: int64(len(kvs))}
	if r.CountOnly {
		return resp, nil
	}
	if r.SortOrder == pb.RangeRequest_DESCEND {
		reversed := make([]*mvccpb.KeyValue, 0, len(kvs))
		for i := len(kvs) - 1; i >= 0; i-- {
			reversed = append(reversed, kvs[i])
		}
		kvs = reversed
	}
	if r.Limit > 0 && int64(len(kvs)) > r.Limit {
		kvs, resp.More = kvs[:r.Limit], true
	}
	if r.KeysOnly {
		for _, kv := range kvs {
			resp.Kvs = append(resp.Kvs, &mvccpb.KeyValue{
				Key: kv.Key, CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision, Version: kv.Version,
			})
		}
		return resp, nil
	}
	resp.Kvs = kvs
	return resp, nil
}

// writer evaluates one request that may write.
type writer struct {
	before, now *State
	events      []*mvccpb.Event
}

// begin replaces now by a copy at the next revision, unless that has happened.
func (w *writer) begin() {
	if w.now != w.before {
		return
	}
	w.now = &State{
		Rev: w.before.Rev + 1, Compacted: w.before.Compacted, prev: w.before,
		kvs: append(make([]*mvccpb.KeyValue, 0, len(w.before.kvs)+1), w.before.kvs...),
	}
}

func (w *writer) put(r *pb.PutRequest) *pb.PutResponse {
	w.begin()
	i, old := w.now.find(r.Key)
	kv := &mvccpb.KeyValue{
		Key: r.Key, Value: r.Value, Lease: r.Lease, CreateRevision: w.now.Rev, ModRevision: w.now.Rev, Version: 1,
	}
	if old != nil {
		kv.CreateRevision, kv.Version = old.CreateRevision, old.Version+1
		w.now.kvs[i] = kv
	} else {
		w.now.kvs = append(w.now.kvs, nil)
		copy(w.now.kvs[i+1:], w.now.kvs[i:])
		w.now.kvs[i] = kv
	}
	w.events = append(w.events, &mvccpb.Event{Type: mvccpb.Event_PUT, Kv: kv, PrevKv: old})
	resp := &pb.PutResponse{Header: header(w.now.Rev)}
	if r.PrevKv {
		resp.PrevKv = old
	}
	return resp
}

func (w *writer) deleteRange(r *pb.DeleteRangeRequest) *pb.DeleteRangeResponse {
	gone := w.now.within(r.Key, r.RangeEnd)
	resp := &pb.DeleteRangeResponse{Deleted: int64(len(gone))}
	if r.PrevKv {
		resp.PrevKvs = gone
	}
	if len(gone) > 0 {
		w.begin()
		kept := w.now.kvs[:0]
		for _, kv := range w.now.kvs {
			if !inRange(kv.Key, r.Key, r.RangeEnd) {
				kept = append(kept, kv)
			}
		}
		w.now.kvs = kept
		for _, kv := range gone {
			w.events = append(w.events, &mvccpb.Event{
				Type: mvccpb.Event_DELETE, Kv: &mvccpb.KeyValue{Key: kv.Key, ModRevision: w.now.Rev}, PrevKv: kv,
			})
		}
	}
	resp.Header = header(w.now.Rev)
	return resp
}

// txn sets no revision in the header, because the header of a nested txn is empty.
func (w *writer) txn(r *pb.TxnRequest) *pb.TxnResponse {
	resp := &pb.TxnResponse{Header: &pb.ResponseHeader{}, Succeeded: w.before.holds(r.Compare)}
	ops := r.Success
	if !resp.Succeeded {
		ops = r.Failure
	}
	for _, op := range ops {
		one := &pb.ResponseOp{}
		switch o := op.Request.(type) {
		case *pb.RequestOp_RequestRange:
			rr, _ := w.now.read(o.RequestRange) // checkTxn has found that it can be read
			one.Response = &pb.ResponseOp_ResponseRange{ResponseRange: rr}
		case *pb.RequestOp_RequestPut:
			one.Response = &pb.ResponseOp_ResponsePut{ResponsePut: w.put(o.RequestPut)}
		case *pb.RequestOp_RequestDeleteRange:
			one.Response = &pb.ResponseOp_ResponseDeleteRange{ResponseDeleteRange: w.deleteRange(o.RequestDeleteRange)}
		case *pb.RequestOp_RequestTxn:
			one.Response = &pb.ResponseOp_ResponseTxn{ResponseTxn: w.txn(o.RequestTxn)}
		}
		resp.Responses = append(resp.Responses, one)
	}
	return resp
}

func (s *State) holds(compares []*pb.Compare) bool {
	for _, c := range compares {
		kvs := s.within(c.Key, c.RangeEnd)
		if len(kvs) == 0 {
			// A missing key has no value, not even an empty one; all its other fields are 0.
			if c.Target == pb.Compare_VALUE || !holdsFor(c, &mvccpb.KeyValue{}) {
				return false
			}
		}
		for _, kv := range kvs {
			if !holdsFor(c, kv) {
				return false
			}
		}
	}
	return true
}

func holdsFor(c *pb.Compare, kv *mvccpb.KeyValue) bool {
	var order int
	switch c.Target {
	case pb.Compare_VERSION:
		order = compare(kv.Version, c.GetVersion())
	case pb.Compare_CREATE:
		order = compare(kv.CreateRevision, c.GetCreateRevision())
	case pb.Compare_MOD:
		order = compare(kv.ModRevision, c.GetModRevision())
	case pb.Compare_LEASE:
		order = compare(kv.Lease, c.GetLease())
	case pb.Compare_VALUE:
		order = bytes.Compare(kv.Value, c.GetValue())
	}
	switch c.Result {
	case pb.Compare_EQUAL:
		return order == 0
	case pb.Compare_NOT_EQUAL:
		return order != 0
	case pb.Compare_GREATER:
		return order > 0
	default:
		return order < 0
	}
}

func compare(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	default:
		return 0
	}
}
