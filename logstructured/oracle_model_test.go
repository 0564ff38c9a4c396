package logstructured_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"maps"
	"slices"
	"sort"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	ls "github.com/stele-db/stele/logstructured"
)

// oracle is etcd's data model in its plainest form: one whole map of the keys for every revision, and the list of
// everything that was ever written. It is slow, needs no index, forgets nothing, and is meant to be right by
// inspection. The rules are those of etcd's server/etcdserver/txn and server/storage/mvcc.
type oracle struct {
	// states[r] is the key space as of revision r; states[0] is unused, and so is every revision before the first.
	states []map[string]*mvccpb.KeyValue
	// events are all writes in the order of revision and sub-revision.
	events []oracleEvent
	// compacted is the compact revision, -1 before the first compaction.
	compacted int64
}

// oracleEvent is one write. prev is the state of its key before the revision, as a watcher's prev_kv shows it.
type oracleEvent struct {
	rev, sub int64
	delete   bool
	kv, prev *mvccpb.KeyValue
}

func newOracle() *oracle {
	empty := map[string]*mvccpb.KeyValue{}
	return &oracle{states: []map[string]*mvccpb.KeyValue{empty, empty}, compacted: -1}
}

func (o *oracle) rev() int64                           { return int64(len(o.states) - 1) }
func (o *oracle) current() map[string]*mvccpb.KeyValue { return o.states[o.rev()] }
func (o *oracle) eventsFrom(rev int64) []oracleEvent   { return o.eventsIn(rev, o.rev()) }
func (o *oracle) firstReadable() int64                 { return max(1, o.compacted) }
func (o *oracle) eventsIn(from, through int64) []oracleEvent {
	lo := sort.Search(len(o.events), func(i int) bool { return o.events[i].rev >= from })
	hi := sort.Search(len(o.events), func(i int) bool { return o.events[i].rev > through })
	return o.events[lo:hi]
}

// Apply runs one request as etcd would.
func (o *oracle) apply(op ls.Op) (ls.OpResult, error) {
	switch r := op.(type) {
	case *ls.RangeRequest:
		return o.readAt(r, o.current(), o.rev())
	case *ls.TxnRequest:
		return o.txn(r)
	default:
		// A single write is a transaction of one operation.
		res, err := o.txn(&ls.TxnRequest{Success: []ls.Op{op}})
		if err != nil {
			return nil, err
		}
		return res.Results[0], nil
	}
}

func (o *oracle) compact(rev int64) (int64, error) {
	if rev <= o.compacted {
		return 0, ls.ErrCompacted
	}
	if rev > o.rev() {
		return 0, ls.ErrFutureRevision
	}
	o.compacted = rev
	return o.rev(), nil
}

// txn

// txnRun is a transaction under way: pre never changes, now does with each write.
type txnRun struct {
	o        *oracle
	pre, now map[string]*mvccpb.KeyValue
	written  []oracleEvent
	// deleted holds the ranges that the operations checked so far delete.
	deleted []ls.KeyRange
}

func (t *txnRun) deletes(key []byte) bool {
	return slices.ContainsFunc(t.deleted, func(r ls.KeyRange) bool { return inRange(key, r) })
}

func (o *oracle) txn(r *ls.TxnRequest) (*ls.TxnResult, error) {
	t := &txnRun{o: o, pre: o.current(), now: maps.Clone(o.current())}
	if err := t.check(r); err != nil {
		return nil, err
	}
	res, err := t.exec(r)
	if err != nil {
		return nil, err
	}
	if len(t.written) > 0 {
		o.states = append(o.states, t.now)
		o.events = append(o.events, t.written...)
	}
	res.Revision = ls.Revision(o.rev())
	return res, nil
}

// rev is the revision that the transaction's own reads and answers show.
func (t *txnRun) rev() int64 {
	if len(t.written) > 0 {
		return t.o.rev() + 1
	}
	return t.o.rev()
}

func (t *txnRun) branch(r *ls.TxnRequest) ([]ls.Op, bool) {
	for _, c := range r.Compares {
		if !compareHolds(c, t.pre) {
			return r.Failure, false
		}
	}
	return r.Success, true
}

// check is what etcd verifies, against the state before the transaction and in the branches taken, before it writes
// anything.
func (t *txnRun) check(r *ls.TxnRequest) error {
	ops, _ := t.branch(r)
	for _, op := range ops {
		switch r := op.(type) {
		case *ls.RangeRequest:
			if int64(r.Revision) > t.o.rev() {
				return ls.ErrFutureRevision
			}
			// Outside a transaction a negative revision is none; here it is one that may have been compacted.
			if r.Revision != 0 && int64(r.Revision) < t.o.compacted {
				return ls.ErrCompacted
			}
		case *ls.PutRequest:
			if r.Lease < 0 || r.Lease > ls.MaxLeaseTTL {
				return ls.ErrLeaseNotFound
			}
			if (r.IgnoreValue || r.IgnoreLease) && (t.pre[string(r.Key)] == nil || t.deletes(r.Key)) {
				return ls.ErrKeyNotFound
			}
		case *ls.DeleteRangeRequest:
			t.deleted = append(t.deleted, r.KeyRange)
		case *ls.TxnRequest:
			if err := t.check(r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *txnRun) exec(r *ls.TxnRequest) (*ls.TxnResult, error) {
	ops, ok := t.branch(r)
	res := &ls.TxnResult{Succeeded: ok, Results: make([]ls.OpResult, len(ops))}
	for i, op := range ops {
		switch r := op.(type) {
		case *ls.RangeRequest:
			rr, err := t.o.readAt(r, t.now, t.rev())
			if err != nil {
				return nil, err
			}
			res.Results[i] = rr
		case *ls.PutRequest:
			res.Results[i] = t.put(r)
		case *ls.DeleteRangeRequest:
			res.Results[i] = t.deleteRange(r)
		case *ls.TxnRequest:
			nested, err := t.exec(r)
			if err != nil {
				return nil, err
			}
			res.Results[i] = nested
		}
	}
	return res, nil
}

func (t *txnRun) put(r *ls.PutRequest) *ls.PutResult {
	rev, prev := t.o.rev()+1, t.now[string(r.Key)]
	kv := &mvccpb.KeyValue{
		Key: r.Key, Value: r.Value, Lease: int64(r.Lease),
		CreateRevision: rev, ModRevision: rev, Version: 1,
	}
	if prev != nil {
		kv.CreateRevision, kv.Version = prev.CreateRevision, prev.Version+1
	}
	if r.IgnoreValue {
		kv.Value = prev.Value
	}
	if r.IgnoreLease {
		kv.Lease = prev.Lease
	}
	t.now[string(r.Key)] = kv
	ev := oracleEvent{rev: rev, sub: int64(len(t.written)), kv: kv}
	if prev != nil { // the event of a creation has none, in etcd also where the transaction has deleted the key before
		ev.prev = t.pre[string(r.Key)]
	}
	t.written = append(t.written, ev)
	res := &ls.PutResult{Revision: ls.Revision(rev)}
	if r.PrevKV {
		res.PrevKV = prev
	}
	return res
}

func (t *txnRun) deleteRange(r *ls.DeleteRangeRequest) *ls.DeleteRangeResult {
	res := &ls.DeleteRangeResult{}
	rev := t.o.rev() + 1
	for _, kv := range keysIn(t.now, r.KeyRange) {
		delete(t.now, string(kv.Key))
		tomb := &mvccpb.KeyValue{Key: kv.Key, ModRevision: rev}
		t.written = append(t.written, oracleEvent{
			rev: rev, sub: int64(len(t.written)), delete: true, kv: tomb, prev: t.pre[string(kv.Key)],
		})
		res.Deleted++
		if r.PrevKV {
			res.PrevKVs = append(res.PrevKVs, kv)
		}
	}
	res.Revision = ls.Revision(t.rev())
	return res
}

func compareHolds(c ls.Compare, state map[string]*mvccpb.KeyValue) bool {
	kvs := keysIn(state, c.KeyRange)
	if len(kvs) == 0 {
		if c.Target == ls.CompareValue {
			return false
		}
		kvs = []*mvccpb.KeyValue{{}}
	}
	for _, kv := range kvs {
		var n int
		switch c.Target {
		case ls.CompareVersion:
			n = compareInts(kv.Version, c.Number)
		case ls.CompareCreateRevision:
			n = compareInts(kv.CreateRevision, c.Number)
		case ls.CompareModRevision:
			n = compareInts(kv.ModRevision, c.Number)
		case ls.CompareLease:
			n = compareInts(kv.Lease, c.Number)
		case ls.CompareValue:
			n = bytes.Compare(kv.Value, c.Value)
		}
		holds := true
		switch c.Result {
		case ls.CompareEqual:
			holds = n == 0
		case ls.CompareNotEqual:
			holds = n != 0
		case ls.CompareGreater:
			holds = n > 0
		case ls.CompareLess:
			holds = n < 0
		}
		if !holds {
			return false
		}
	}
	return true
}

func compareInts(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// range

func inRange(key []byte, r ls.KeyRange) bool {
	switch {
	case len(r.End) == 0:
		return bytes.Equal(key, r.Key)
	case len(r.End) == 1 && r.End[0] == 0:
		return bytes.Compare(key, r.Key) >= 0
	default:
		return bytes.Compare(key, r.Key) >= 0 && bytes.Compare(key, r.End) < 0
	}
}

// keysIn returns the keys of a range in order.
func keysIn(state map[string]*mvccpb.KeyValue, r ls.KeyRange) []*mvccpb.KeyValue {
	var kvs []*mvccpb.KeyValue
	for _, kv := range state {
		if inRange(kv.Key, r) {
			kvs = append(kvs, kv)
		}
	}
	slices.SortFunc(kvs, func(a, b *mvccpb.KeyValue) int { return bytes.Compare(a.Key, b.Key) })
	return kvs
}

// readAt answers a range that sees now at its newest, of which header is the revision.
func (o *oracle) readAt(r *ls.RangeRequest, now map[string]*mvccpb.KeyValue, header int64) (*ls.RangeResult, error) {
	state := now
	if r.Revision > 0 {
		if int64(r.Revision) > header {
			return nil, ls.ErrFutureRevision
		}
		if int64(r.Revision) < o.compacted {
			return nil, ls.ErrCompacted
		}
		if int64(r.Revision) <= o.rev() {
			state = o.states[r.Revision]
		}
	}
	kvs := keysIn(state, r.KeyRange)
	res := &ls.RangeResult{Revision: ls.Revision(header), Count: int64(len(kvs))}
	if r.CountOnly {
		return res, nil
	}
	kvs = slices.DeleteFunc(kvs, func(kv *mvccpb.KeyValue) bool {
		return r.MinModRevision != 0 && kv.ModRevision < int64(r.MinModRevision) ||
			r.MaxModRevision != 0 && kv.ModRevision > int64(r.MaxModRevision) ||
			r.MinCreateRevision != 0 && kv.CreateRevision < int64(r.MinCreateRevision) ||
			r.MaxCreateRevision != 0 && kv.CreateRevision > int64(r.MaxCreateRevision)
	})
	filtered := r.MinModRevision != 0 || r.MaxModRevision != 0 || r.MinCreateRevision != 0 || r.MaxCreateRevision != 0
	if r.SortOrder == ls.SortNone && !filtered && r.Limit > 0 && int64(len(kvs)) > r.Limit {
		// An oddity of etcd's: with no order given it reads limit+1 keys, and only then sorts them by the target.
		kvs = kvs[:r.Limit+1]
	}
	sortKVs(kvs, r)
	if r.Limit > 0 && int64(len(kvs)) > r.Limit {
		kvs, res.More = kvs[:r.Limit], true
	}
	for _, kv := range kvs {
		if r.KeysOnly {
			lease := kv.Lease
			if r.SortTarget != ls.SortByValue {
				lease = 0 // etcd 3.7 answers from its index, which has no leases, unless it needs the values to sort.
			}
			kv = &mvccpb.KeyValue{
				Key: kv.Key, CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision,
				Version: kv.Version, Lease: lease,
			}
		}
		res.KVs = append(res.KVs, kv)
	}
	return res, nil
}

// sortKVs sorts as requested. Keys that compare equal come in the order of etcd's sort, which is the standard
// library's.
func sortKVs(kvs []*mvccpb.KeyValue, r *ls.RangeRequest) {
	if r.SortTarget == ls.SortByKey && r.SortOrder != ls.SortDescend {
		return
	}
	var by sort.Interface = &kvsBy{kvs, r.SortTarget}
	if r.SortOrder == ls.SortDescend {
		by = sort.Reverse(by)
	}
	sort.Sort(by)
}

type kvsBy struct {
	kvs    []*mvccpb.KeyValue
	target ls.SortTarget
}

func (s *kvsBy) Len() int           { return len(s.kvs) }
func (s *kvsBy) Swap(i, j int)      { s.kvs[i], s.kvs[j] = s.kvs[j], s.kvs[i] }
func (s *kvsBy) Less(i, j int) bool { return compareBySort(s.target, s.kvs[i], s.kvs[j]) < 0 }

func compareBySort(target ls.SortTarget, a, b *mvccpb.KeyValue) int {
	switch target {
	case ls.SortByVersion:
		return compareInts(a.Version, b.Version)
	case ls.SortByCreateRevision:
		return compareInts(a.CreateRevision, b.CreateRevision)
	case ls.SortByModRevision:
		return compareInts(a.ModRevision, b.ModRevision)
	case ls.SortByValue:
		return bytes.Compare(a.Value, b.Value)
	}
	return bytes.Compare(a.Key, b.Key)
}

// hashKV is CRC-32C over the bucket's name and its records as etcd stores them (server/storage/mvcc/hash.go):
// the live keys of what was compacted, and everything after that. Comparable only while there are live keys:
// without any, etcd hashes whatever its compaction has not removed yet.
func (o *oracle) hashKV(rev int64) (hash uint32, comparable bool) {
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	h.Write([]byte("key"))
	for _, e := range o.eventsIn(1, rev) {
		if e.rev <= o.compacted {
			if live := o.states[rev][string(e.kv.Key)]; live != e.kv {
				continue
			}
		}
		record := binary.BigEndian.AppendUint64(nil, uint64(e.rev))
		record = append(record, '_')
		record = binary.BigEndian.AppendUint64(record, uint64(e.sub))
		stored := e.kv
		if e.delete {
			record = append(record, 't')
			stored = &mvccpb.KeyValue{Key: e.kv.Key}
		}
		value, err := proto.MarshalOptions{Deterministic: true}.Marshal(stored)
		if err != nil {
			return 0, false
		}
		h.Write(record)
		h.Write(value)
	}
	return h.Sum32(), o.compacted <= 0 || len(o.states[rev]) > 0
}
