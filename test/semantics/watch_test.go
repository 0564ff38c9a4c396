package semantics

import (
	"math"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

func TestWatch(t *testing.T) { onBoth(t, watchRules) }

func TestProgressNotify(t *testing.T) {
	onBoth(t, progressRules, "--watch-progress-notify-interval=200ms")
}

var progressRules = []rule{
	{"a watcher with progress_notify gets notifications of its id while there are no events", func(e *env) {
		s := e.watch()
		s.all(&pb.WatchCreateRequest{WatchId: 5})
		s.all(&pb.WatchCreateRequest{
			WatchId: 6, ProgressNotify: true, Filters: []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NOPUT},
		})
		current := e.put("k", "v").Header.Revision
		equal(e, "event", s.text(s.events(1)), "PUT k=v")
		for range 3 {
			r := s.next()
			equal(e, "watch id", r.WatchId, 6)
			equal(e, "events", len(r.Events), 0)
			equal(e, "revision", r.Header.Revision, current)
		}
	}},
	{"a watcher of the future gets none", func(e *env) {
		s := e.watch()
		current := e.put("k", "1").Header.Revision
		s.all(&pb.WatchCreateRequest{WatchId: 1, ProgressNotify: true, StartRevision: current + 2})
		s.all(&pb.WatchCreateRequest{WatchId: 2, ProgressNotify: true})
		for range 3 {
			equal(e, "watch id", s.next().WatchId, 2)
		}
	}},
}

func TestWatchCompaction(t *testing.T) { onFresh(t, watchCompactionRules) }

// wantCancelReason checks a creation that failed.
func wantCancelReason(e *env, a *pb.WatchResponse, reason string) {
	e.Helper()
	equal(e, "watch id", a.WatchId, -1)
	equal(e, "created", a.Created, true)
	equal(e, "canceled", a.Canceled, true)
	equal(e, "reason", a.CancelReason, reason)
	equal(e, "compact revision", a.CompactRevision, 0)
	equal(e, "header revision", a.Header.Revision, e.revision())
}

var watchRules = []rule{
	{"created comes first with the current revision", func(e *env) {
		current := e.put("k", "old").Header.Revision
		a := e.watch().create(&pb.WatchCreateRequest{Key: e.key("k"), StartRevision: current})
		equal(e, "revision", a.Header.Revision, current)
		equal(e, "created", a.Created, true)
		equal(e, "canceled", a.Canceled, false)
		equal(e, "events", len(a.Events), 0)
	}},
	{"automatic ids start at 0 on each stream and skip used ones", func(e *env) {
		r := func(id int64) *pb.WatchCreateRequest { return &pb.WatchCreateRequest{Key: e.key("k"), WatchId: id} }
		for range 2 {
			s := e.watch()
			equal(e, "first", s.create(r(0)).WatchId, 0)
			equal(e, "second", s.create(r(0)).WatchId, 1)
			equal(e, "client's", s.create(r(2)).WatchId, 2)
			equal(e, "third", s.create(r(0)).WatchId, 3)
			equal(e, "large", s.create(r(math.MaxInt64)).WatchId, math.MaxInt64)
			equal(e, "negative", s.create(r(-7)).WatchId, -7)
			equal(e, "fourth", s.create(r(0)).WatchId, 4)
			s.cancel(1)
			equal(e, "canceled", s.next().WatchId, 1)
			equal(e, "an automatic id is not used again", s.create(r(0)).WatchId, 5)
			equal(e, "but may be chosen", s.create(r(1)).WatchId, 1)
		}
	}},
	{"a duplicate id is refused", func(e *env) {
		s := e.watch()
		s.create(&pb.WatchCreateRequest{Key: e.key("k"), WatchId: 7})
		wantCancelReason(e, s.create(&pb.WatchCreateRequest{Key: e.key("k"), WatchId: 7}),
			"mvcc: duplicate watch ID provided on the WatchStream")
		e.put("k", "v")
		equal(e, "the first one lives", s.next().WatchId, 7)
	}},
	{"an empty range is refused", func(e *env) {
		s := e.watch()
		wantCancelReason(e, s.create(&pb.WatchCreateRequest{Key: e.key("b"), RangeEnd: e.key("a")}),
			"mvcc: watcher range is empty")
		wantCancelReason(e, s.create(&pb.WatchCreateRequest{Key: e.key("b"), RangeEnd: e.key("b")}),
			"mvcc: watcher range is empty")
		equal(e, "the id was not used", s.create(&pb.WatchCreateRequest{Key: e.key("a")}).WatchId, 0)
	}},
	{"a negative start is refused as compacted", func(e *env) {
		s := e.watch()
		wantCancelReason(e, s.create(&pb.WatchCreateRequest{Key: e.key("k"), StartRevision: -1}),
			"etcdserver: mvcc: required revision has been compacted")
		wantCancelReason(e,
			s.create(&pb.WatchCreateRequest{Key: e.key("b"), RangeEnd: e.key("a"), StartRevision: math.MinInt64}),
			"etcdserver: mvcc: required revision has been compacted")
	}},
	{"an empty key is NUL", func(e *env) {
		s := e.watch()
		s.create(&pb.WatchCreateRequest{RangeEnd: []byte{0}})
		e.put("k", "v")
		equal(e, "events", s.text(s.events(1)), "PUT k=v")
	}},
	{"start 0 means from now on", func(e *env) {
		e.put("k", "old")
		s := e.watch()
		s.all(&pb.WatchCreateRequest{})
		e.put("k", "new")
		equal(e, "events", s.text(s.events(1)), "PUT k=new")
	}},
	{"a start in the past", func(e *env) {
		from := e.put("a", "1").Header.Revision
		e.put("b", "2")
		e.del("a")
		s := e.watch()
		s.all(&pb.WatchCreateRequest{StartRevision: from})
		equal(e, "events", s.text(s.events(3)), "PUT a=1 PUT b=2 DELETE a")
		e.put("c", "3")
		equal(e, "later ones", s.text(s.events(1)), "PUT c=3")
	}},
	{"a start in the future suppresses earlier events", func(e *env) {
		current := e.revision()
		s := e.watch()
		s.all(&pb.WatchCreateRequest{StartRevision: current + 3})
		e.put("k", "1")
		e.put("k", "2")
		e.put("k", "3")
		e.put("k", "4")
		equal(e, "events", s.text(s.events(2)), "PUT k=3 PUT k=4")
	}},
	{"a DELETE has only key and mod_revision", func(e *env) {
		e.put("k", "v")
		s := e.watch()
		s.all(&pb.WatchCreateRequest{})
		revision := e.del("k").Header.Revision
		want := &mvccpb.Event{Type: mvccpb.Event_DELETE, Kv: &mvccpb.KeyValue{Key: e.key("k"), ModRevision: revision}}
		if got := s.events(1)[0]; !proto.Equal(got, want) {
			e.Errorf("event is %v, want %v", got, want)
		}
	}},
	{"prev_kv is the previous KeyValue and absent on create", func(e *env) {
		s := e.watch()
		s.all(&pb.WatchCreateRequest{PrevKv: true})
		e.put("k", "1")
		first := e.get("k")
		e.put("k", "2")
		second := e.get("k")
		e.del("k")
		e.put("k", "3")
		for i, want := range []*mvccpb.KeyValue{nil, first, second, nil} {
			if got := s.events(1)[0].PrevKv; !proto.Equal(got, want) {
				e.Errorf("previous KeyValue of event %d is %v, want %v", i, got, want)
			}
		}
	}},
	{"a revision is never split and keeps the order of operations", func(e *env) {
		s := e.watch()
		s.all(&pb.WatchCreateRequest{})
		e.txn(&pb.TxnRequest{Success: []*pb.RequestOp{
			putOp(e.key("c"), "1"), putOp(e.key("a"), "2"),
			txnOp(&pb.TxnRequest{Success: []*pb.RequestOp{putOp(e.key("b"), "3")}}),
		}})
		r := s.next()
		equal(e, "events", s.text(r.Events), "PUT c=1 PUT a=2 PUT b=3")
		e.deleteOf(&pb.DeleteRangeRequest{Key: []byte(e.prefix), RangeEnd: e.end()})
		equal(e, "a range delete is in key order", s.text(s.next().Events), "DELETE a DELETE b DELETE c")
		again := e.watch()
		again.all(&pb.WatchCreateRequest{StartRevision: r.Header.Revision})
		equal(e, "from history", again.text(again.events(6)), "PUT c=1 PUT a=2 PUT b=3 DELETE a DELETE b DELETE c")
	}},
	{"filters", func(e *env) {
		s := e.watch()
		s.all(&pb.WatchCreateRequest{
			WatchId: 1, Filters: []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NOPUT},
		})
		s.all(&pb.WatchCreateRequest{
			WatchId: 2, Filters: []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NODELETE},
		})
		s.all(&pb.WatchCreateRequest{WatchId: 3, Filters: []pb.WatchCreateRequest_FilterType{
			pb.WatchCreateRequest_NODELETE, pb.WatchCreateRequest_NOPUT,
		}})
		e.put("k", "v")
		e.del("k")
		first, second := s.next(), s.next()
		equal(e, "first watcher", first.WatchId, 2)
		equal(e, "first event", s.text(first.Events), "PUT k=v")
		equal(e, "second watcher", second.WatchId, 1)
		equal(e, "second event", s.text(second.Events), "DELETE k")
		s.progress() // no event precedes it
	}},
	{"cancel answers canceled", func(e *env) {
		s := e.watch()
		id := s.all(&pb.WatchCreateRequest{})
		current := e.revision()
		s.cancel(id)
		want := &pb.WatchResponse{WatchId: id, Canceled: true}
		a := s.next()
		equal(e, "revision", a.Header.Revision, current)
		a.Header = nil
		if !proto.Equal(a, want) {
			e.Errorf("answer is %v, want %v", a, want)
		}
		e.put("k", "v")
		equal(e, "nothing comes for it", s.all(&pb.WatchCreateRequest{}), 1)
	}},
	{"cancelling an unknown id answers nothing", func(e *env) {
		s := e.watch()
		s.cancel(5)
		s.cancel(-1)
		equal(e, "next answer", s.all(&pb.WatchCreateRequest{}), 0)
	}},
	{"an empty request is ignored", func(e *env) {
		s := e.watch()
		s.send(&pb.WatchRequest{})
		equal(e, "next answer", s.all(&pb.WatchCreateRequest{}), 0)
	}},
	{"RequestProgress answers id -1 and the current revision", func(e *env) {
		s := e.watch()
		s.all(&pb.WatchCreateRequest{})
		s.all(&pb.WatchCreateRequest{})
		current := e.put("k", "v").Header.Revision
		s.next()
		s.next()
		a := s.progress()
		equal(e, "watch id", a.WatchId, -1)
		equal(e, "revision", a.Header.Revision, current)
	}},
	{"RequestProgress without watchers answers nothing", func(e *env) {
		s := e.watch()
		s.requestProgress()
		equal(e, "next answer", s.all(&pb.WatchCreateRequest{}), 0)
	}},
	{"progress never overtakes an event", func(e *env) {
		from := e.revision() + 1
		for range 50 {
			e.put("k", "v")
		}
		s := e.watch()
		s.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
			Key: []byte(e.prefix), RangeEnd: e.end(), StartRevision: from,
		}}})
		s.requestProgress()
		equal(e, "first", s.next().Created, true)
		s.events(50)
		equal(e, "revision of the progress", s.progress().Header.Revision, e.revision())
	}},
	{"fragment splits responses larger than the limit of a request", func(e *env) {
		big := func(c string) string { return strings.Repeat(c, 700<<10) }
		put := func(c string) int64 {
			return e.txn(&pb.TxnRequest{Success: []*pb.RequestOp{putOp(e.key("a"), big(c)),
				putOp(e.key("b"), big(c))}}).Header.Revision
		}
		whole, split := e.watch(), e.watch()
		whole.all(&pb.WatchCreateRequest{PrevKv: true})
		split.all(&pb.WatchCreateRequest{PrevKv: true, Fragment: true})
		put("1")
		for _, s := range []*stream{whole, split} {
			r := s.next()
			equal(e, "events of a small response", len(r.Events), 2)
			equal(e, "fragment", r.Fragment, false)
		}
		revision := put("2")
		r := whole.next()
		equal(e, "events without fragment", len(r.Events), 2)
		equal(e, "fragment", r.Fragment, false)
		first, second := split.next(), split.next()
		for i, part := range []*pb.WatchResponse{first, second} {
			equal(e, "events of a fragment", len(part.Events), 1)
			equal(e, "fragment but for the last", part.Fragment, i == 0)
			equal(e, "revision of a fragment", part.Header.Revision, revision)
			if !proto.Equal(part.Events[0], r.Events[i]) {
				e.Errorf("event %d differs", i)
			}
		}
	}},
}

var watchCompactionRules = []rule{
	{"a start below the compacted revision", func(e *env) {
		for range 5 {
			e.put("k", "v")
		}
		compacted := e.revision() - 1
		e.compact(compacted)
		s := e.watch()
		id := s.all(&pb.WatchCreateRequest{StartRevision: compacted - 1})
		a := s.next()
		equal(e, "watch id", a.WatchId, id)
		equal(e, "canceled", a.Canceled, true)
		equal(e, "created", a.Created, false)
		equal(e, "compact revision", a.CompactRevision, compacted)
		equal(e, "header revision", a.Header.Revision, 0)
		equal(e, "cluster id is set", a.Header.ClusterId != 0, true)
		equal(e, "reason", a.CancelReason, "")
		wantCancelReason(e, s.create(&pb.WatchCreateRequest{Key: e.key("k"), StartRevision: -1}), compactedText)
	}},
	{"it keeps its id until the client cancels it", func(e *env) {
		for range 5 {
			e.put("k", "v")
		}
		e.compact(e.revision())
		s := e.watch()
		s.all(&pb.WatchCreateRequest{StartRevision: 2, WatchId: 1})
		equal(e, "canceled", s.next().Canceled, true)
		wantCancelReason(e, s.create(&pb.WatchCreateRequest{Key: e.key("k"), WatchId: 1}),
			"mvcc: duplicate watch ID provided on the WatchStream")
		s.cancel(1)
		a := s.next()
		equal(e, "canceled again", a.Canceled, true)
		equal(e, "watch id", a.WatchId, 1)
		equal(e, "header revision", a.Header.Revision, e.revision())
		equal(e, "free", s.create(&pb.WatchCreateRequest{Key: e.key("k"), WatchId: 1}).Canceled, false)
	}},
	{"a start at the compacted revision works", func(e *env) {
		e.put("k", "1")
		compacted := e.put("k", "2").Header.Revision
		e.put("k", "3")
		e.compact(compacted)
		s := e.watch()
		s.all(&pb.WatchCreateRequest{StartRevision: compacted})
		equal(e, "events", s.text(s.events(2)), "PUT k=2 PUT k=3")
	}},
	{"a tombstone at the compacted revision is still an event", func(e *env) {
		e.put("k", "1")
		gone := e.del("k").Header.Revision
		e.put("other", "")
		e.compact(gone)
		s := e.watch()
		s.all(&pb.WatchCreateRequest{StartRevision: gone})
		equal(e, "events", s.text(s.events(2)), "DELETE k PUT other=")
	}},
	{"a synced watcher survives a compaction", func(e *env) {
		s := e.watch()
		s.all(&pb.WatchCreateRequest{})
		e.put("k", "1")
		s.events(1)
		e.compact(e.put("k", "2").Header.Revision)
		e.put("k", "3")
		equal(e, "events", s.text(s.events(2)), "PUT k=2 PUT k=3")
	}},
	{"a future start survives a compaction", func(e *env) {
		e.put("k", "1")
		s := e.watch()
		s.all(&pb.WatchCreateRequest{StartRevision: e.revision() + 3})
		e.put("k", "2")
		e.compact(e.put("k", "3").Header.Revision)
		e.put("k", "4")
		equal(e, "events", s.text(s.events(1)), "PUT k=4")
	}},
	{"start 0 after everything was compacted", func(e *env) {
		e.put("k", "1")
		e.compact(e.put("k", "2").Header.Revision)
		s := e.watch()
		s.all(&pb.WatchCreateRequest{})
		e.put("k", "3")
		equal(e, "events", s.text(s.events(1)), "PUT k=3")
	}},
}
