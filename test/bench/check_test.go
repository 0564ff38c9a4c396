package main

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
)

// liar is a server that keeps nothing and gets one thing wrong.
type liar struct {
	pb.UnimplementedKVServer
	pb.UnimplementedWatchServer

	// loseEvery acknowledges that one in so many puts without counting it; eventLoss does not send that one in so
	// many events, eventTwice sends it twice. 0 is never.
	loseEvery, eventLoss, eventTwice int64
	// short leaves a key out of lists.
	short int

	mu       sync.Mutex
	puts     int64
	revision int64
	streams  []chan *mvccpb.Event
}

func (l *liar) Put(_ context.Context, r *pb.PutRequest) (*pb.PutResponse, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.puts++
	if l.loseEvery == 0 || l.puts%l.loseEvery != 0 {
		l.revision++
	}
	e := &mvccpb.Event{Kv: &mvccpb.KeyValue{Key: r.Key, Value: r.Value, ModRevision: l.puts}}
	for _, s := range l.streams {
		if l.eventLoss == 0 || l.puts%l.eventLoss != 0 {
			s <- e
		}
		if l.eventTwice != 0 && l.puts%l.eventTwice == 0 {
			s <- e
		}
	}
	return &pb.PutResponse{}, nil
}

func (l *liar) Range(_ context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	resp := &pb.RangeResponse{Header: &pb.ResponseHeader{Revision: l.revision}, Count: l.revision}
	if strings.HasPrefix(string(r.Key), "/registry/objects/") {
		resp.Count = 1
		for range 1 - l.short {
			resp.Kvs = append(resp.Kvs, &mvccpb.KeyValue{Key: r.Key, Value: make([]byte, valueSize)})
		}
	}
	return resp, nil
}

func (l *liar) Watch(stream pb.Watch_WatchServer) error {
	if _, err := stream.Recv(); err != nil {
		return err
	}
	events := make(chan *mvccpb.Event, 1<<16)
	l.mu.Lock()
	l.streams = append(l.streams, events)
	l.mu.Unlock()
	if err := stream.Send(&pb.WatchResponse{Created: true}); err != nil {
		return err
	}
	for {
		select {
		case e := <-events:
			if err := stream.Send(&pb.WatchResponse{Events: []*mvccpb.Event{e}}); err != nil {
				return err
			}
		case <-stream.Context().Done():
			return nil
		}
	}
}

// measureLiar runs w against l for a moment, waits arrive for late events, and returns what measure says.
func measureLiar(t *testing.T, l *liar, w workload, arrive time.Duration) (result, error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterKVServer(server, l)
	pb.RegisterWatchServer(server, l)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	c, err := newClient([]string{listener.Addr().String()}, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.close(); err != nil {
			t.Error(err)
		}
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	s := defaultSettings()
	s.warmup, s.duration, s.settle, s.arrive = 0, 300*time.Millisecond, time.Millisecond, arrive
	b := &bench{settings: s, dir: t.TempDir(), progress: io.Discard}
	b.objects = newObjectSet("/registry/objects/", 600)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return b.measure(ctx, w, &target{procs: []*process{ownProcess()}}, &slot{settings: s, client: c, objects: b.objects, prefix: "/registry/slot/"})
}

func TestMeasureAcceptsRightAnswers(t *testing.T) {
	for _, w := range []workload{putWorkload(4), getWorkload(4), watchLatencyWorkload(3), watchFanOutWorkload(3, 1)} {
		got, err := measureLiar(t, &liar{}, w, 30*time.Second)
		if err != nil || got.Rate <= 0 || got.P50 <= 0 || got.P99 < got.P50 {
			t.Errorf("%s: %+v, %v", w.name, got, err)
		}
	}
}

func TestMeasureRefusesWrongAnswers(t *testing.T) {
	for _, c := range []struct {
		what string
		liar *liar
		w    workload
		want string
	}{
		{"a lost write", &liar{loseEvery: 2}, putWorkload(4), "wrong answers"},
		{"a lost event", &liar{eventLoss: 2}, watchLatencyWorkload(3), "have not arrived"},
		{"a lost event of many", &liar{eventLoss: 2}, watchFanOutWorkload(3, 1), "have not arrived"},
		{"an event sent twice", &liar{eventTwice: 2}, watchLatencyWorkload(3), "revision"},
		{"a key not found", &liar{short: 1}, getWorkload(4), "a get answered 0 keys"},
		{"a wrong list", &liar{}, listWorkload("list", 500, 2, false), "a list answered 1 keys"},
		{"a wrong count", &liar{}, countWorkload("count", 2, false), "counted 1 of 600"},
		{"an error", &liar{}, txnWorkload(4), "Unimplemented"},
	} {
		if _, err := measureLiar(t, c.liar, c.w, 500*time.Millisecond); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", c.what, err, c.want)
		}
	}
}
