package differential

import (
	"bytes"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// watcher is a watcher that both servers created alike.
type watcher struct {
	id      int64
	request *pb.WatchCreateRequest
	// created is the revision of the creation.
	created int64
	// control is the index of the answer to its creation among the controls of the stream.
	control int
	// compactedAway is true if the start had been compacted.
	compactedAway bool
	// canceled is the revision of the cancellation; 0 while it watches.
	canceled int64
	// compactedAtCreation is the compact revision at the creation: previous values below it may be missing.
	compactedAtCreation int64
	// compared is the number of events that have been compared.
	compared int
}

// start returns the first revision whose events the watcher receives.
func (w *watcher) start() int64 {
	if w.request.StartRevision == 0 {
		return w.created + 1
	}
	return w.request.StartRevision
}

// wants reports whether the watcher receives e.
func (w *watcher) wants(e *mvccpb.Event) bool {
	revision := e.Kv.ModRevision
	if w.compactedAway || revision < w.start() || w.canceled != 0 && revision > w.canceled {
		return false
	}
	for _, f := range w.request.Filters {
		if f == pb.WatchCreateRequest_NOPUT && e.Type == mvccpb.Event_PUT ||
			f == pb.WatchCreateRequest_NODELETE && e.Type == mvccpb.Event_DELETE {
			return false
		}
	}
	key, end := w.request.Key, w.request.RangeEnd
	if len(key) == 0 {
		key = []byte{0}
	}
	switch {
	case len(end) == 0:
		return bytes.Equal(e.Kv.Key, key)
	case len(end) == 1 && end[0] == 0:
		return bytes.Compare(e.Kv.Key, key) >= 0
	default:
		return bytes.Compare(e.Kv.Key, key) >= 0 && bytes.Compare(e.Kv.Key, end) < 0
	}
}

// expected returns the events of history that the watcher receives.
func (w *watcher) expected(history []*mvccpb.Event) []*mvccpb.Event {
	var list []*mvccpb.Event
	for _, e := range history {
		if w.wants(e) {
			list = append(list, e)
		}
	}
	return list
}

// upTo returns the number of events at or before revision.
func upTo(events []*mvccpb.Event, revision int64) int {
	n := 0
	for _, e := range events {
		if e.Kv.ModRevision <= revision {
			n++
		}
	}
	return n
}
