package differential

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

// watchTimeout bounds every wait: an event or answer that has not arrived by then is missing.
const watchTimeout = 20 * time.Second

// TestWatch creates and cancels random watchers on both servers while both apply the same writes.
func TestWatch(t *testing.T) {
	rounds := setting(t, "STELE_TEST_DIFF_ROUNDS", 40)
	var watchers, events, controls, progresses, early, compared atomic.Int64
	t.Cleanup(func() {
		t.Logf("watchers: %d, their events compared: %d, creations and cancellations compared: %d, progress "+
			"responses checked: %d (of etcd's %d too early), writes compared: %d",
			watchers.Load(), events.Load(), controls.Load(), progresses.Load(), early.Load(), compared.Load())
	})
	for _, seed := range seeds(t, 2) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			run := newWatchRun(t, seed)
			if seed%2 == 0 {
				run.longHistory(t)
			}
			for range rounds {
				run.round(t)
			}
			run.settle(t)
			watchers.Add(int64(run.watchers))
			events.Add(int64(run.events))
			controls.Add(int64(run.controls))
			progresses.Add(int64(run.progresses))
			early.Add(int64(run.early))
			compared.Add(int64(run.compared))
		})
	}
}

// watchRun is the run of one seed.
type watchRun struct {
	*kvRun
	streams []*streamPair
	// recorder watches all keys on the reference, which gives the history.
	recorder *watchStream

	watchers, events, controls, progresses int
	// early counts the progress responses of etcd that arrived before an event which they cover.
	early int
}

// streamPair is a stream on each server with the same watchers.
type streamPair struct {
	name               string
	reference, subject *watchStream
	// answered counts the controls that were compared.
	answered int
	watchers []*watcher
}

func newWatchRun(t *testing.T, seed uint64) *watchRun {
	t.Helper()
	run := &watchRun{kvRun: newKVRun(t, seed, "--watch-progress-notify-interval=300ms")}
	run.recorder = openStream(t, run.kvRun, true)
	all := []byte{0}
	create(t, run.recorder, &pb.WatchCreateRequest{Key: all, RangeEnd: all, StartRevision: 1, PrevKv: true})
	for i := range 4 {
		run.streams = append(run.streams, &streamPair{
			name:      fmt.Sprintf("stream %d", i),
			reference: openStream(t, run.kvRun, true),
			subject:   openStream(t, run.kvRun, false),
		})
	}
	return run
}

// longHistory writes more than one response holds, in revisions and in bytes, and creates watchers that start anywhere
// in that history.
func (run *watchRun) longHistory(t *testing.T) {
	t.Helper()
	g := run.generator
	for i := range 1300 {
		if i%20 != 0 {
			run.step(t, i, request{message: &pb.PutRequest{Key: pick(g, g.keys...), Value: g.value()}})
			continue
		}
		// The limit in bytes is reached inside a revision, which must not be split there.
		r := &pb.TxnRequest{}
		for _, k := range g.Perm(len(g.keys))[:5] {
			put := &pb.PutRequest{Key: g.keys[k], Value: bytes.Repeat([]byte{byte(i)}, 20<<10)}
			r.Success = append(r.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: put}})
		}
		run.step(t, i, request{message: r})
	}
	all := []byte{0}
	for range 6 {
		pair := pick(g, run.streams...)
		run.create(t, pair, &pb.WatchCreateRequest{
			Key: all, RangeEnd: all, StartRevision: 1 + g.Int64N(300), PrevKv: g.chance(50),
		})
		run.create(t, pair, &pb.WatchCreateRequest{
			Key: pick(g, g.keys...), RangeEnd: all, StartRevision: 1 + g.Int64N(300),
		})
	}
	run.settle(t)
}

func openStream(t *testing.T, run *kvRun, reference bool) *watchStream {
	t.Helper()
	server := run.subject
	if reference {
		server = run.reference
	}
	s, err := newWatchStream(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func create(t *testing.T, s *watchStream, r *pb.WatchCreateRequest) {
	t.Helper()
	send(t, s, &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: r}})
}

func send(t *testing.T, s *watchStream, r *pb.WatchRequest) {
	t.Helper()
	if err := s.client.Send(r); err != nil {
		t.Fatalf("send %v: %v", r, err)
	}
}

// round changes watchers, writes, and compares; sometimes it compacts.
func (run *watchRun) round(t *testing.T) {
	t.Helper()
	g := run.generator
	for range g.IntN(8) {
		run.change(t, pick(g, run.streams...))
	}
	for range g.IntN(25) {
		run.step(t, -1, g.write())
		if g.chance(5) {
			run.change(t, pick(g, run.streams...))
		}
	}
	if g.chance(50) {
		run.settle(t)
	}
	if g.chance(15) {
		// Every watcher must have read its history before it is compacted.
		run.settle(t)
		run.synced(t)
		run.step(t, -1, request{message: g.compact()})
	}
}

// change creates or cancels a watcher, or requests progress.
func (run *watchRun) change(t *testing.T, pair *streamPair) {
	t.Helper()
	g := run.generator
	var ids []int64
	for _, w := range pair.watchers {
		ids = append(ids, w.id)
	}
	switch n := g.IntN(100); {
	case n < 60 && len(ids) < 25:
		run.create(t, pair, g.watchCreate(ids))
	case n < 85:
		run.cancel(t, pair, ids)
	case n < 95:
		pair.send(t, &pb.WatchRequest{
			RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}},
		})
	default:
		pair.send(t, &pb.WatchRequest{})
	}
}

func (pair *streamPair) send(t *testing.T, r *pb.WatchRequest) {
	t.Helper()
	send(t, pair.reference, r)
	send(t, pair.subject, r)
}

// answer returns the next answer to a creation or cancellation, which must be equal on both servers.
func (run *watchRun) answer(t *testing.T, pair *streamPair, r *pb.WatchRequest) *pb.WatchResponse {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), watchTimeout)
	defer cancel()
	reference, err := pair.reference.control(ctx, pair.answered)
	if err != nil {
		t.Fatalf("seed %d, %s: the reference does not answer %v: %v", run.seed, pair.name, r, err)
	}
	subject, err := pair.subject.control(ctx, pair.answered)
	if err != nil {
		t.Fatalf("seed %d, %s: the subject does not answer %v: %v", run.seed, pair.name, r, err)
	}
	pair.answered++
	run.controls++
	if !proto.Equal(reference, subject) {
		t.Fatalf("seed %d, %s (revision %d, compacted %d): answers to %v differ (-reference +subject):\n%s",
			run.seed, pair.name, run.generator.current, run.generator.compacted, r,
			cmp.Diff(reference, subject, protocmp.Transform()))
	}
	return reference
}

func (run *watchRun) create(t *testing.T, pair *streamPair, c *pb.WatchCreateRequest) {
	t.Helper()
	r := &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: c}}
	pair.send(t, r)
	control := pair.answered
	a := run.answer(t, pair, r)
	if a.Canceled {
		return
	}
	run.watchers++
	pair.watchers = append(pair.watchers, &watcher{
		id:                  a.WatchId,
		request:             c,
		created:             a.Header.Revision,
		control:             control,
		compactedAway:       c.StartRevision != 0 && c.StartRevision < run.generator.compacted,
		compactedAtCreation: run.generator.compacted,
	})
}

// cancel cancels a watcher, or one that does not exist. The latter has no answer: if there were one, the next answer
// would differ.
func (run *watchRun) cancel(t *testing.T, pair *streamPair, ids []int64) {
	t.Helper()
	g := run.generator
	id := int64(4711)
	if len(ids) > 0 && !g.chance(15) {
		// Both servers must have sent the same events before the cancellation.
		run.settle(t)
		id = pick(g, ids...)
	}
	r := &pb.WatchRequest{
		RequestUnion: &pb.WatchRequest_CancelRequest{CancelRequest: &pb.WatchCancelRequest{WatchId: id}},
	}
	pair.send(t, r)
	if id == 4711 {
		return
	}
	a := run.answer(t, pair, r)
	for i, w := range pair.watchers {
		if w.id == id {
			w.canceled = a.Header.Revision
			run.compare(t, pair, w)
			pair.forget(w)
			pair.watchers = append(pair.watchers[:i], pair.watchers[i+1:]...)
			break
		}
	}
}

// forget drops the events of w, because its ID may be reused.
func (pair *streamPair) forget(w *watcher) {
	for _, s := range []*watchStream{pair.reference, pair.subject} {
		s.mu.Lock()
		delete(s.events, w.id)
		delete(s.responses, w.id)
		delete(s.compacted, w.id)
		s.mu.Unlock()
	}
}
