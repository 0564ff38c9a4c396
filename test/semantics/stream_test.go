package semantics

import (
	"context"
	"fmt"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// stream is a watch stream that a rule reads message by message.
type stream struct {
	*env
	client    pb.Watch_WatchClient
	responses chan *pb.WatchResponse
}

func (e *env) watch() *stream {
	e.Helper()
	ctx, cancel := context.WithCancel(e.ctx)
	e.Cleanup(cancel)
	client, err := e.Watch.Watch(ctx)
	s := &stream{env: e, client: must(e, client, err), responses: make(chan *pb.WatchResponse, 10000)}
	go func() {
		defer close(s.responses)
		for {
			r, err := client.Recv()
			if err != nil {
				return
			}
			s.responses <- r
		}
	}()
	return s
}

func (s *stream) send(r *pb.WatchRequest) {
	s.Helper()
	if err := s.client.Send(r); err != nil {
		s.Fatal(err)
	}
}

// next returns the next response.
func (s *stream) next() *pb.WatchResponse {
	s.Helper()
	select {
	case r, ok := <-s.responses:
		if !ok {
			s.Fatal("the watch stream ended")
		}
		return r
	case <-time.After(20 * time.Second):
		s.Fatal("no watch response in 20 s")
	}
	return nil
}

// create creates a watcher and returns the answer.
func (s *stream) create(r *pb.WatchCreateRequest) *pb.WatchResponse {
	s.Helper()
	s.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: r}})
	a := s.next()
	if !a.Created {
		s.Fatalf("the first answer to a creation is %v", a)
	}
	return a
}

// all creates a watcher of the rule's keys.
func (s *stream) all(r *pb.WatchCreateRequest) int64 {
	s.Helper()
	r.Key, r.RangeEnd = []byte(s.prefix), s.end()
	a := s.create(r)
	if a.Canceled {
		s.Fatalf("not created: %v", a)
	}
	return a.WatchId
}

func (s *stream) cancel(id int64) {
	s.Helper()
	s.send(&pb.WatchRequest{
		RequestUnion: &pb.WatchRequest_CancelRequest{CancelRequest: &pb.WatchCancelRequest{WatchId: id}},
	})
}

func (s *stream) requestProgress() {
	s.Helper()
	s.send(&pb.WatchRequest{
		RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}},
	})
}

// progress requests progress until the server answers, because etcd drops a request while a watcher is not synced. It
// fails on events.
func (s *stream) progress() *pb.WatchResponse {
	s.Helper()
	for range 200 {
		s.requestProgress()
		select {
		case r := <-s.responses:
			if r.Created || r.Canceled || len(r.Events) > 0 || r.WatchId != -1 {
				s.Fatalf("want progress, got %v", r)
			}
			return r
		case <-time.After(100 * time.Millisecond):
		}
	}
	s.Fatal("no progress response in 20 s")
	return nil
}

// events collects n events.
func (s *stream) events(n int) []*mvccpb.Event {
	s.Helper()
	var list []*mvccpb.Event
	for len(list) < n {
		r := s.next()
		if len(r.Events) == 0 {
			s.Fatalf("want events, got %v", r)
		}
		list = append(list, r.Events...)
	}
	if len(list) > n {
		s.Fatalf("%d events, want %d", len(list), n)
	}
	return list
}

// text formats events as "PUT a=1 DELETE b".
func (s *stream) text(events []*mvccpb.Event) string {
	var list []string
	for _, ev := range events {
		name := strings.TrimPrefix(string(ev.Kv.Key), s.prefix)
		if ev.Type == mvccpb.Event_PUT {
			list = append(list, fmt.Sprintf("PUT %s=%s", name, ev.Kv.Value))
		} else {
			list = append(list, "DELETE "+name)
		}
	}
	return strings.Join(list, " ")
}
