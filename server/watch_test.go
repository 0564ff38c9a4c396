package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// watching is a client's watch stream.
type watching struct {
	pb.Watch_WatchClient
	t testing.TB
}

func watch(t testing.TB, r *running) *watching {
	t.Helper()
	stream, err := pb.NewWatchClient(r.dial(t)).Watch(within(t))
	if err != nil {
		t.Fatal(err)
	}
	return &watching{stream, t}
}

func (w *watching) send(req any) {
	w.t.Helper()
	msg := &pb.WatchRequest{}
	switch r := req.(type) {
	case *pb.WatchCreateRequest:
		msg.RequestUnion = &pb.WatchRequest_CreateRequest{CreateRequest: r}
	case *pb.WatchCancelRequest:
		msg.RequestUnion = &pb.WatchRequest_CancelRequest{CancelRequest: r}
	case *pb.WatchProgressRequest:
		msg.RequestUnion = &pb.WatchRequest_ProgressRequest{ProgressRequest: r}
	}
	if err := w.Send(msg); err != nil {
		w.t.Fatal(err)
	}
}

func (w *watching) next() *pb.WatchResponse {
	w.t.Helper()
	resp, err := w.Recv()
	if err != nil {
		w.t.Fatal(err)
	}
	return resp
}

// expect compares the next response.
func (w *watching) expect(want *pb.WatchResponse) {
	w.t.Helper()
	same(w.t, w.next(), want)
}

func TestWatchResponses(t *testing.T) {
	r := serve(t, nil)
	kv, m := pb.NewKVClient(r.dial(t)), r.watch.member
	ctx := within(t)
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(kv.Put(ctx, &pb.PutRequest{Key: []byte("a"), Value: []byte("1")}))
	must(kv.Put(ctx, &pb.PutRequest{Key: []byte("a"), Value: []byte("2")}))
	must(kv.Compact(ctx, &pb.CompactionRequest{Revision: 3}))

	w := watch(t, r)
	w.send(&pb.WatchCreateRequest{Key: []byte("a"), PrevKv: true})
	w.expect(&pb.WatchResponse{Header: headerAt(m, 3), WatchId: 0, Created: true})
	w.send(&pb.WatchCreateRequest{Key: []byte("b"), WatchId: 7,
		Filters: []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NOPUT}})
	w.expect(&pb.WatchResponse{Header: headerAt(m, 3), WatchId: 7, Created: true})

	// A failed creation has a reason and the ID -1.
	w.send(&pb.WatchCreateRequest{Key: []byte("a"), WatchId: 7})
	w.expect(&pb.WatchResponse{Header: headerAt(m, 3), WatchId: -1, Created: true, Canceled: true,
		CancelReason: "mvcc: duplicate watch ID provided on the WatchStream"})
	w.send(&pb.WatchCreateRequest{Key: []byte("b"), RangeEnd: []byte("a"), Fragment: true})
	w.expect(&pb.WatchResponse{Header: headerAt(m, 3), WatchId: -1, Created: true, Canceled: true,
		CancelReason: "mvcc: watcher range is empty"})
	w.send(&pb.WatchCreateRequest{Key: []byte("a"), StartRevision: -1})
	w.expect(&pb.WatchResponse{Header: headerAt(m, 3), WatchId: -1, Created: true, Canceled: true,
		CancelReason: rpctypes.ErrCompacted.Error()})
	w.send(&pb.WatchCreateRequest{Key: []byte("a"), StartRevision: 2, WatchId: 9})
	w.expect(&pb.WatchResponse{Header: headerAt(m, 3), WatchId: 9, Created: true})
	noRevision := headerAt(m, 0)
	w.expect(&pb.WatchResponse{Header: noRevision, WatchId: 9, Canceled: true, CompactRevision: 3})

	// Empty requests are ignored, and so is the cancellation of an unknown watcher.
	must(nil, w.Send(&pb.WatchRequest{}))
	w.send(&pb.WatchCancelRequest{WatchId: 99})

	must(kv.Put(ctx, &pb.PutRequest{Key: []byte("a"), Value: []byte("3")}))
	w.expect(&pb.WatchResponse{Header: headerAt(m, 4), WatchId: 0, Events: []*mvccpb.Event{
		{Kv: kvAt("a", "3", 2, 4, 3), PrevKv: kvAt("a", "2", 2, 3, 2)},
	}})
	must(kv.Put(ctx, &pb.PutRequest{Key: []byte("b"), Value: []byte("filtered")}))
	must(kv.DeleteRange(ctx, &pb.DeleteRangeRequest{Key: []byte("b")}))
	w.expect(&pb.WatchResponse{Header: headerAt(m, 6), WatchId: 7, Events: []*mvccpb.Event{
		{Type: mvccpb.Event_DELETE, Kv: &mvccpb.KeyValue{Key: []byte("b"), ModRevision: 6}},
	}})
	w.send(&pb.WatchProgressRequest{})
	w.expect(&pb.WatchResponse{Header: headerAt(m, 6), WatchId: -1})
	w.send(&pb.WatchCancelRequest{WatchId: 7})
	w.expect(&pb.WatchResponse{Header: headerAt(m, 6), WatchId: 7, Canceled: true})

	// A client that has closed its sending side still gets its events.
	must(nil, w.CloseSend())
	must(kv.DeleteRange(ctx, &pb.DeleteRangeRequest{Key: []byte("a")}))
	w.expect(&pb.WatchResponse{Header: headerAt(m, 7), WatchId: 0, Events: []*mvccpb.Event{
		{Type: mvccpb.Event_DELETE, Kv: &mvccpb.KeyValue{Key: []byte("a"), ModRevision: 7},
			PrevKv: kvAt("a", "3", 2, 4, 3)},
	}})
}

func TestWatchProgressNotify(t *testing.T) {
	r := serve(t, nil) // with an interval of 200 ms
	w := watch(t, r)
	w.send(&pb.WatchCreateRequest{Key: []byte("a")})
	w.send(&pb.WatchCreateRequest{Key: []byte("a"), ProgressNotify: true, WatchId: 5})
	for range 2 {
		if resp := w.next(); !resp.Created {
			t.Fatalf("not created: %v", resp)
		}
	}
	for range 2 {
		w.expect(&pb.WatchResponse{Header: headerAt(r.watch.member, 1), WatchId: 5})
	}
}

// A large response is split for a watcher that requested fragments, and not for another one.
func TestWatchFragments(t *testing.T) {
	r := serve(t, func(o *Options) { o.MaxRequestBytes = 1000 << 10 })
	r.watch.fragmentBytes = 10_000
	kv := pb.NewKVClient(r.dial(t))
	whole, pieces := watch(t, r), watch(t, r)
	// A failed creation and one without fragments: the flag applies to one watcher only.
	pieces.send(&pb.WatchCreateRequest{Key: []byte("b"), RangeEnd: []byte("a"), Fragment: true})
	pieces.send(&pb.WatchCreateRequest{Key: []byte("other")})
	pieces.send(&pb.WatchCreateRequest{Key: []byte("a"), RangeEnd: []byte("b"), Fragment: true, WatchId: 5})
	for range 3 {
		pieces.next()
	}
	whole.send(&pb.WatchCreateRequest{Key: []byte("a"), RangeEnd: []byte("b")})
	whole.next()

	txn := &pb.TxnRequest{}
	for i := range 100 {
		txn.Success = append(txn.Success,
			opOf(&pb.PutRequest{Key: fmt.Appendf(nil, "a%03d", i), Value: make([]byte, 100*i%3000)}))
	}
	if _, err := kv.Txn(within(t), txn); err != nil {
		t.Fatal(err)
	}
	want := whole.next()
	if len(want.Events) != 100 || want.Fragment {
		t.Fatalf("%d events, fragment %v", len(want.Events), want.Fragment)
	}
	var events []*mvccpb.Event
	n := 0
	for more := true; more; {
		piece := pieces.next()
		more = piece.Fragment
		n++
		if size := proto.Size(piece); size >= 10_000 {
			t.Errorf("a piece of %d bytes", size)
		}
		if piece.WatchId != 5 || piece.Header.Revision != 2 {
			t.Errorf("piece of watcher %d at revision %d", piece.WatchId, piece.Header.Revision)
		}
		events = append(events, piece.Events...)
	}
	same(t, &pb.WatchResponse{Events: events}, &pb.WatchResponse{Events: want.Events})
	if n < 10 {
		t.Errorf("%d pieces", n)
	}
}

// A response is split as in etcd: by the size of the message, with at least one event in each piece.
func TestFragmentBoundaries(t *testing.T) {
	event := func(n int) *mvccpb.Event { return &mvccpb.Event{Kv: &mvccpb.KeyValue{Value: make([]byte, n)}} }
	for name, c := range map[string]struct {
		sizes []int
		limit int
		want  []int
	}{
		"fits":                   {[]int{10, 10, 10}, 1000, []int{3}},
		"one event over":         {[]int{5000}, 1000, []int{1}},
		"each one over":          {[]int{5000, 5000, 5000}, 1000, []int{1, 1, 1}},
		"large ones between":     {[]int{10, 10, 5000, 10, 10}, 1000, []int{2, 1, 2}},
		"large one first":        {[]int{5000, 10, 10}, 1000, []int{1, 2}},
		"half and half":          {[]int{400, 400, 400, 400}, 1000, []int{2, 2}},
		"many":                   {slicesOf(100, 100), 1200, append(slicesOf(9, 11), 1)},
		"large one at the end":   {[]int{10, 5000}, 1000, []int{1, 1}},
		"no events, any message": {nil, 1, []int{0}},
	} {
		t.Run(name, func(t *testing.T) {
			resp := &pb.WatchResponse{Header: &pb.ResponseHeader{ClusterId: 1, MemberId: 1, Revision: 5}, WatchId: 3}
			for _, n := range c.sizes {
				resp.Events = append(resp.Events, event(n))
			}
			var got []int
			err := sendFragments(resp, c.limit, func(p *pb.WatchResponse) error {
				if p.Fragment != (len(got) < len(c.want)-1) {
					t.Errorf("piece %d: fragment %v", len(got), p.Fragment)
				}
				got = append(got, len(p.Events))
				return nil
			})
			if err != nil || fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("got %v (%v), want %v", got, err, c.want)
			}
		})
	}
	want := errors.New("gone")
	calls := 0
	err := sendFragments(&pb.WatchResponse{Events: []*mvccpb.Event{event(50), event(50)}}, 10,
		func(*pb.WatchResponse) error { calls++; return want })
	if !errors.Is(err, want) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

// Each piece is below the limit, and has as many events as in etcd.
func TestFragmentsAreMaximal(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		limit := 100 + r.IntN(2000)
		resp := &pb.WatchResponse{Header: &pb.ResponseHeader{ClusterId: r.Uint64(), MemberId: 1, Revision: 5},
			WatchId: r.Int64N(1000)}
		for range 2 + r.IntN(40) {
			resp.Events = append(resp.Events,
				&mvccpb.Event{Kv: &mvccpb.KeyValue{Key: key, Value: make([]byte, r.IntN(300))}})
		}
		var pieces []*pb.WatchResponse
		if err := sendFragments(resp, limit,
			func(p *pb.WatchResponse) error { pieces = append(pieces, p); return nil }); err != nil {
			t.Fatal(err)
		}
		for i, p := range pieces {
			p.Fragment = len(pieces) > 1 // as measured
			if size := proto.Size(p); size >= limit && len(p.Events) > 1 {
				t.Fatalf("a piece of %d bytes, limit %d", size, limit)
			}
			if i+1 < len(pieces) {
				p.Events = append(p.Events, pieces[i+1].Events[0])
				if size := proto.Size(p); size < limit {
					t.Fatalf("the next event would make it %d bytes, limit %d", size, limit)
				}
			}
		}
	}
}

// A client that sends requests without reading responses cannot fill the server's memory. All requests are answered
// once it reads.
func TestUnreadWatchResponsesBlockRequests(t *testing.T) {
	r := serve(t, nil)
	w := watch(t, r)
	const n = 3000
	sent := make(chan error, 1)
	go func() {
		for range n {
			create := &pb.WatchCreateRequest{Key: bytes.Repeat(key, 100)}
			req := &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create}}
			if err := w.Send(req); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for i := range n {
		if resp := w.next(); !resp.Created || resp.WatchId != int64(i) {
			t.Fatalf("response %d: %v", i, resp)
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

func TestCanceledClientEndsWatchStream(t *testing.T) {
	r := serve(t, nil)
	ctx, cancel := context.WithCancel(within(t))
	stream, err := pb.NewWatchClient(r.dial(t)).Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	(&watching{stream, t}).send(&pb.WatchCreateRequest{Key: key})
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	if n := r.streams.len(); n != 1 {
		t.Fatalf("%d streams", n)
	}
	cancel()
	eventually(t, "the stream ends", func() bool { return r.streams.len() == 0 })
	r.watch.streams.wait()
}

// Watch streams end as soon as the server stops.
func TestStopEndsWatchStreams(t *testing.T) {
	r := serve(t, nil)
	w := watch(t, r)
	w.send(&pb.WatchCreateRequest{Key: key})
	w.next()
	begin := time.Now()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > r.opts.ShutdownTimeout/2 {
		t.Errorf("it took %v", took)
	}
	_, err := w.Recv()
	sameStatus(t, err, rpctypes.ErrGRPCStopped)
	if r.streams.len() != 0 {
		t.Error("a stream is left")
	}
}

// Watch streams end when the store stops, and other requests fail.
func TestStoppedStoreEndsWatchStreams(t *testing.T) {
	store, stop := startStore(t)
	r := serveStore(t, store, nil)
	w := watch(t, r)
	w.send(&pb.WatchCreateRequest{Key: key})
	w.next()
	stop()
	_, err := w.Recv()
	sameStatus(t, err, rpctypes.ErrGRPCStopped)
	_, err = pb.NewKVClient(r.dial(t)).Put(within(t), &pb.PutRequest{Key: key})
	sameStatus(t, err, rpctypes.ErrGRPCStopped)
}

func TestWatchMessageTooLarge(t *testing.T) {
	r := serve(t, func(o *Options) { o.MaxRequestBytes = 1000 })
	w := watch(t, r)
	w.send(&pb.WatchCreateRequest{Key: make([]byte, grpcOverheadBytes+2000)})
	_, err := w.Recv()
	if errors.Is(err, io.EOF) || status.Code(err) != codes.ResourceExhausted {
		t.Errorf("got %v", err)
	}
}
