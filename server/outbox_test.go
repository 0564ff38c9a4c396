package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// One answer fits even if it is larger than the bound, and those that wait get room in their order.
func TestOutbox(t *testing.T) {
	all := newOutboxes(1000)
	mail := all.open(100, 10, func() { t.Error("evicted") })
	box := mail.unary
	first, err := box.take(t.Context(), 5000)
	if err != nil || first != 100 {
		t.Fatalf("%d, %v", first, err)
	}
	if n := box.try(1); n != 0 {
		t.Errorf("room for %d more", n)
	}
	if n := mail.stream.try(10); n != 10 {
		t.Errorf("the streams have room for %d", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := box.take(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	second := make(chan int64)
	go func() {
		n, _ := box.take(t.Context(), 60)
		second <- n
	}()
	box.give(first)
	if n := <-second; n != 60 {
		t.Errorf("took %d", n)
	}
	mail.Closed()
	box.give(60) // gRPC frees a message after its connection has ended
	if !all.bytes.TryAcquire(1000) {
		t.Error("a closed connection holds room")
	}
}

// A connection that takes nothing is closed when another one needs the room that it holds.
// One that takes something is not.
func TestStalledConnectionIsEvicted(t *testing.T) {
	all := newOutboxes(100)
	all.stall = 20 * time.Millisecond
	evicted := make(chan struct{})
	stalled := all.open(50, 50, nil)
	stalled.evict = func() {
		close(evicted)
		stalled.Closed()
	}
	busy := all.open(60, 60, func() { t.Error("the wrong connection was evicted") })
	if stalled.unary.try(40) == 0 || busy.unary.try(60) == 0 {
		t.Fatal("no room")
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				busy.written.Add(stallBytes)
			}
		}
	})
	waiting := all.open(50, 50, func() { t.Error("the one that waits was evicted") })
	if _, err := waiting.unary.take(within(t), 30); err != nil {
		t.Error(err)
	}
	<-evicted
	close(done)
	wg.Wait()
}

// largeCalls are the options of calls whose answers are large.
var largeCalls = []grpc.CallOption{grpc.MaxCallRecvMsgSize(math.MaxInt32)}

// fillMiB writes n values of a megabyte.
func fillMiB(t testing.TB, r *running, n int) *pb.RangeRequest {
	t.Helper()
	kv := pb.NewKVClient(r.dial(t))
	for i := range n {
		if _, err := kv.Put(within(t),
			&pb.PutRequest{Key: fmt.Appendf(nil, "large/%03d", i), Value: make([]byte, 1<<20)}); err != nil {
			t.Fatal(err)
		}
	}
	return &pb.RangeRequest{Key: []byte("large/"), RangeEnd: []byte("large0")}
}

// allFree waits until no answer holds room, and collects messages that gRPC has discarded.
func (r *running) allFree(t testing.TB) {
	t.Helper()
	all := r.starting.answers
	eventually(t, "all room is free", func() bool {
		free := all.bytes.TryAcquire(all.limit)
		if free {
			all.bytes.Release(all.limit)
		} else {
			runtime.GC()
		}
		return free
	})
}

// gRPC discards the buffer of a message if the stream ends while the message is being queued.
func TestRoomOfDiscardedMessageIsFree(t *testing.T) {
	all := newOutboxes(1 << 20)
	all.stall = time.Millisecond
	box := all.open(1<<20, 1<<20, func() {}).unary
	room, err := box.take(t.Context(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	m := &pb.RangeResponse{Kvs: []*mvccpb.KeyValue{{Value: make([]byte, 1<<20)}}}
	if _, err := newCodec().Marshal(newHeldAnswer(m, proto.Size(m), box, room)); err != nil {
		t.Fatal(err)
	}
	if _, err := box.take(within(t), 1<<20); err != nil {
		t.Errorf("the next message waits for room: %v", err)
	}
}

// A range that is ordered by value reads all values before the limit applies.
func TestRoomOfLimitedRangeByValueIsFree(t *testing.T) {
	r := serve(t, nil)
	everything := fillMiB(t, r, 2)
	kv := pb.NewKVClient(r.dial(t))
	if _, err := kv.Put(within(t), &pb.PutRequest{Key: []byte("large/small")}); err != nil {
		t.Fatal(err)
	}
	resp, err := kv.Range(within(t), &pb.RangeRequest{
		Key: everything.Key, RangeEnd: everything.RangeEnd, Limit: 1,
		SortTarget: pb.RangeRequest_VALUE, SortOrder: pb.RangeRequest_ASCEND,
	})
	if err != nil || len(resp.Kvs) != 1 || len(resp.Kvs[0].Value) != 0 {
		t.Fatalf("%v, %v", resp, err)
	}
	r.allFree(t)
}

// Clients that read get all of their answers, however many they ask for at once on a connection.
// All room is free afterwards.
func TestLargeAnswersAtOnce(t *testing.T) {
	r := serve(t, nil)
	everything := fillMiB(t, r, 12)
	conn := r.dial(t)
	kv := pb.NewKVClient(conn)
	var wg sync.WaitGroup
	for i := range 9 {
		wg.Go(func() {
			var got int
			switch i % 3 {
			case 0:
				resp, err := kv.Range(within(t), everything, largeCalls...)
				if err != nil {
					t.Error(err)
				}
				got = len(resp.GetKvs())
			case 1:
				resp, err := kv.Txn(within(t), &pb.TxnRequest{Success: opsOf(everything, everything)}, largeCalls...)
				if err != nil || len(resp.Responses) != 2 {
					t.Error(err)
					return
				}
				got = len(resp.Responses[1].GetResponseRange().Kvs)
			case 2:
				got = len(watched(t, pb.NewWatchClient(conn), 12))
			}
			if got != 12 {
				t.Errorf("%d values", got)
			}
		})
	}
	wg.Wait()
	r.allFree(t)
}

// watched returns the first n events of a watch from the beginning.
func watched(t testing.TB, client pb.WatchClient, n int) (events []string) {
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	stream, err := client.Watch(ctx, largeCalls...)
	if err == nil {
		create := &pb.WatchCreateRequest{Key: []byte("large/"), RangeEnd: []byte("large0"), StartRevision: 1}
		err = stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create}})
	}
	for err == nil && len(events) < n {
		var resp *pb.WatchResponse
		if resp, err = stream.Recv(); err == nil {
			for _, ev := range resp.Events {
				events = append(events, string(ev.Kv.Key))
			}
		}
	}
	if err != nil {
		t.Error(err)
	}
	return events
}

// A client that reads its streams in another order than it opened them gets them all.
// Its other requests do not wait.
func TestUnreadStreamsBlockNothing(t *testing.T) {
	r := serve(t, nil)
	kv := pb.NewKVClient(r.dial(t))
	const keys, size = 400, 10 << 10 // values of which some fit into the smallest piece
	for i := range keys {
		if _, err := kv.Put(within(t),
			&pb.PutRequest{Key: fmt.Appendf(nil, "some/%03d", i), Value: make([]byte, size)}); err != nil {
			t.Fatal(err)
		}
	}
	everything := &pb.RangeRequest{Key: []byte("some/"), RangeEnd: []byte("some0")}
	var streams []pb.KV_RangeStreamClient
	for range 50 {
		stream, err := kv.RangeStream(within(t), everything)
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, stream)
	}
	if resp, err := kv.Range(within(t), everything, largeCalls...); err != nil || len(resp.Kvs) != keys {
		t.Errorf("a list: %v", err)
	}
	for i := len(streams) - 1; i >= 0; i-- {
		n := 0
		for {
			resp, err := streams[i].Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			n += len(resp.RangeResponse.Kvs)
		}
		if n != keys {
			t.Errorf("stream %d: %d keys", i, n)
		}
	}
	r.allFree(t)
}

// Room is given back when requests end before they were answered, and when their connection does.
func TestRoomOfEndedRequestsIsFree(t *testing.T) {
	r := serve(t, nil)
	everything := fillMiB(t, r, 12)
	conn := r.dial(t)
	kv := pb.NewKVClient(conn)
	for range 3 {
		ctx, cancel := context.WithCancel(within(t))
		var wg sync.WaitGroup
		for range 20 {
			if _, err := kv.RangeStream(ctx, everything); err != nil {
				t.Fatal(err)
			}
			wg.Go(func() { _, _ = kv.Range(ctx, everything, largeCalls...) })
		}
		time.AfterFunc(5*time.Millisecond, cancel)
		wg.Wait()
		cancel()
	}
	r.allFree(t)
	for range 20 {
		if _, err := kv.RangeStream(within(t), everything); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "some room is taken", func() bool {
		all := r.starting.answers
		if all.bytes.TryAcquire(all.limit) {
			all.bytes.Release(all.limit)
			return false
		}
		return true
	})
	_ = conn.Close()
	r.allFree(t)
}
