package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// liar is a server that stores nothing and has one fault.
type liar struct {
	pb.UnimplementedKVServer
	pb.UnimplementedWatchServer

	// loseEvery is the number of acknowledged puts of which one is lost. eventLoss is the number of events of which one
	// is not sent, eventTwice the number of which one is sent twice. 0 means never.
	loseEvery, eventLoss, eventTwice int64
	// short omits a key from lists.
	short int
	// wrongKey sends events of keys that were not written, noPrev sends no previous values, stale answers gets from an
	// older revision.
	wrongKey, noPrev, stale bool

	mu       sync.Mutex
	puts     int64
	revision int64
	streams  []liarStream
	// kvs holds the keys that transactions have stored.
	kvs map[string]*mvccpb.KeyValue
}

type liarStream struct {
	prefix string
	events chan *mvccpb.Event
}

func (l *liar) Put(_ context.Context, r *pb.PutRequest) (*pb.PutResponse, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.puts++
	if l.loseEvery == 0 || l.puts%l.loseEvery != 0 {
		l.revision++
	}
	e := &mvccpb.Event{Kv: &mvccpb.KeyValue{Key: r.Key, Value: r.Value, ModRevision: l.puts}}
	l.send(e)
	return &pb.PutResponse{}, nil
}

func (l *liar) send(e *mvccpb.Event) {
	for _, s := range l.streams {
		if !strings.HasPrefix(string(e.Kv.Key), s.prefix) {
			continue
		}
		if l.eventLoss == 0 || l.puts%l.eventLoss != 0 {
			s.events <- e
		}
		if l.eventTwice != 0 && l.puts%l.eventTwice == 0 {
			s.events <- e
		}
	}
}

// Txn handles the transactions of the mix: a put or a deletion of the one key that is compared.
func (l *liar) Txn(_ context.Context, r *pb.TxnRequest) (*pb.TxnResponse, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kvs == nil {
		return nil, status.Error(codes.Unimplemented, "no transactions")
	}
	key := r.Compare[0].Key
	l.puts++
	l.revision++
	prev := l.kvs[string(key)]
	now := &mvccpb.KeyValue{Key: key, ModRevision: l.revision, CreateRevision: l.revision}
	if prev != nil {
		now.CreateRevision = prev.CreateRevision
	}
	e := &mvccpb.Event{Kv: now, PrevKv: prev}
	if put := r.Success[0].GetRequestPut(); put != nil {
		now.Value = put.Value
		l.kvs[string(key)] = now
	} else {
		e.Type = mvccpb.DELETE
		delete(l.kvs, string(key))
	}
	if l.noPrev {
		e.PrevKv = nil
	}
	if l.wrongKey {
		e.Kv = &mvccpb.KeyValue{Key: append(bytes.Clone(key), 'x'), Value: now.Value, ModRevision: now.ModRevision,
			CreateRevision: now.CreateRevision}
	}
	l.send(e)
	return &pb.TxnResponse{Succeeded: true, Header: &pb.ResponseHeader{Revision: l.revision}}, nil
}

// stored answers a get, a list of objects, or the count of a prefix, all of the mix.
func (l *liar) stored(r *pb.RangeRequest, resp *pb.RangeResponse) {
	resp.Count = 0
	if r.CountOnly {
		for key := range l.kvs {
			if strings.HasPrefix(key, string(r.Key)) {
				resp.Count++
			}
		}
		return
	}
	if found, ok := l.kvs[string(r.Key)]; ok {
		found = &mvccpb.KeyValue{
			Key: found.Key, Value: found.Value, ModRevision: found.ModRevision, Version: found.Version,
		}
		if l.stale {
			found.ModRevision--
		}
		resp.Kvs, resp.Count = []*mvccpb.KeyValue{found}, 1
	}
}

func (l *liar) Range(_ context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	resp := &pb.RangeResponse{Header: &pb.ResponseHeader{Revision: l.revision}, Count: l.revision}
	switch objects := newObjectSet("/registry/objects/", 600); {
	case l.kvs != nil && len(r.RangeEnd) > 0 && !r.CountOnly:
		first, _ := slices.BinarySearch(objects.keys, string(r.Key))
		resp.Count, resp.More = int64(len(objects.keys)-first), true
		for _, key := range objects.keys[first:][:listPage] {
			resp.Kvs = append(resp.Kvs, &mvccpb.KeyValue{Key: []byte(key), Value: make([]byte, valueSize)})
		}
	case l.kvs != nil:
		l.stored(r, resp)
	case strings.HasPrefix(string(r.Key), "/registry/objects/"):
		resp.Count = 1
		for range 1 - l.short {
			resp.Kvs = append(resp.Kvs, &mvccpb.KeyValue{Key: r.Key, Value: make([]byte, valueSize)})
		}
	}
	return resp, nil
}

func (l *liar) Watch(stream pb.Watch_WatchServer) error {
	create, err := stream.Recv()
	if err != nil {
		return err
	}
	events := make(chan *mvccpb.Event, 1<<16)
	l.mu.Lock()
	l.streams = append(l.streams, liarStream{string(create.GetCreateRequest().Key), events})
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

// serve serves l until the end of the test.
func (l *liar) serve(t *testing.T) *client {
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
	return c
}

// measureLiar runs w against l for a moment, waits arrive for late events, and returns the result of measure.
func measureLiar(t *testing.T, l *liar, w workload, arrive time.Duration) (result, error) {
	t.Helper()
	c := l.serve(t)
	s := defaultSettings()
	s.warmup, s.duration, s.settle, s.arrive = 0, 300*time.Millisecond, time.Millisecond, arrive
	b := &bench{settings: s, dir: t.TempDir(), progress: io.Discard}
	b.objects = newObjectSet("/registry/objects/", 600)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return b.measure(ctx, w, &target{procs: []*process{ownProcess()}}, &slot{
		settings: s, client: c, objects: b.objects, prefix: "/registry/slot/",
	})
}

func TestMeasureAcceptsRightAnswers(t *testing.T) {
	for _, w := range []workload{putWorkload(4), getWorkload(4), watchLatencyWorkload(3),
		watchFanOutWorkload("fanout", 3, 1, 32), mixWorkload(4, 3)} {
		l := &liar{}
		if strings.HasPrefix(w.name, "mix") {
			l.kvs = map[string]*mvccpb.KeyValue{}
		}
		got, err := measureLiar(t, l, w, 30*time.Second)
		if err != nil || got.Rate <= 0 || got.P50 <= 0 || got.P99 < got.P50 {
			t.Errorf("%s: %+v, %v", w.name, got, err)
		}
		if follows := l.kvs != nil; follows != (got.WatchP99 > 0) {
			t.Errorf("%s: the watch's p99 is %v", w.name, got.WatchP99)
		}
	}
}

func TestMeasureRefusesWrongAnswers(t *testing.T) {
	none := func() map[string]*mvccpb.KeyValue { return map[string]*mvccpb.KeyValue{} }
	for _, c := range []struct {
		what string
		liar *liar
		w    workload
		want string
	}{
		{"a lost write", &liar{loseEvery: 2}, putWorkload(4), "wrong answers"},
		{"a lost event", &liar{eventLoss: 2}, watchLatencyWorkload(3), "have not arrived"},
		{"a lost event of many", &liar{eventLoss: 2}, watchFanOutWorkload("fanout", 3, 1, 32), "have not arrived"},
		{"an event sent twice", &liar{eventTwice: 2}, watchLatencyWorkload(3), "revision"},
		{"a key not found", &liar{short: 1}, getWorkload(4), "a get answered 0 keys"},
		{"a wrong list", &liar{}, listWorkload("list", 500, 2, false), "a list answered 1 keys"},
		{"a wrong count", &liar{}, countWorkload("count", 2, false), "counted 1 of 600"},
		{"a lost event of the mix", &liar{kvs: none(), eventLoss: 2}, mixWorkload(4, 3), "have not arrived"},
		{"an event of the mix sent twice", &liar{kvs: none(), eventTwice: 2}, mixWorkload(4, 3),
			"an event of revision"},
		{"an event of another key", &liar{kvs: none(), wrongKey: true}, mixWorkload(4, 3), "other changes"},
		{"an event without the previous value", &liar{kvs: none(), noPrev: true}, mixWorkload(4, 3),
			"with the previous value false"},
		{"a get of the past", &liar{kvs: none(), stale: true}, mixWorkload(4, 3), "a get answered 1 keys, revision"},
		{"an error", &liar{}, txnWorkload(4), "Unimplemented"},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			if _, err := measureLiar(t, c.liar, c.w, 500*time.Millisecond); err == nil ||
				!strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

// TestSurvived checks that a server without all its objects after a restart has no figure.
func TestSurvived(t *testing.T) {
	set := newObjectSet("/registry/objects/", 3)
	for _, c := range []struct {
		what string
		lie  func(*liar)
		want string
	}{
		{"nothing is amiss", func(*liar) {}, ""},
		{"an older revision", func(l *liar) { l.revision-- }, "the revision is 6 and was 7"},
		{"a lost key", func(l *liar) { delete(l.kvs, set.keys[1]) }, "stored 3 objects, the server counts 2"},
		{"lost values", func(l *liar) {
			for _, kv := range l.kvs {
				kv.Value = nil
			}
		}, "objects/"},
		{"updates that nobody made", func(l *liar) {
			for _, kv := range l.kvs {
				kv.Version = 2
			}
		}, "objects/"},
	} {
		l := &liar{revision: 7, kvs: map[string]*mvccpb.KeyValue{}}
		for _, key := range set.keys {
			l.kvs[key] = &mvccpb.KeyValue{Key: []byte(key), Value: newValue(), Version: 1}
		}
		c.lie(l)
		err := survived(t.Context(), l.serve(t), set, 7)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.what, err, c.want)
		}
	}
}

// TestNothingDone checks that a slot without any operation is repeated, and fails if there is none again.
func TestNothingDone(t *testing.T) {
	for answersAt, want := range map[int]string{1: "", 3: "", 4: errNothingDone.Error()} {
		tries := 0
		w := workload{name: "slow", run: func(context.Context, *slot) (sample, error) {
			if tries++; tries < answersAt {
				return sample{}, nil
			}
			return sample{ops: 1, total: 1}, nil
		}}
		b := &bench{settings: defaultSettings(), dir: t.TempDir(), progress: io.Discard}
		b.settle = 0
		got := b.slot(t.Context(), w, &target{client: (&liar{}).serve(t), procs: []*process{ownProcess()}})
		if !strings.HasPrefix(got.Error, want) || (got.Error == "") != (want == "") {
			t.Errorf("an answer at try %d: %q, want %q", answersAt, got.Error, want)
		}
	}
}
