package differential

import (
	"context"
	"fmt"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/stele-db/stele/test/internal/target"
)

// watchStream is one stream to one server and all that was received on it.
type watchStream struct {
	client pb.Watch_WatchClient

	mu      sync.Mutex
	changed chan struct{}
	err     error
	// controls are the answers to creations and cancellations, in order.
	controls []*pb.WatchResponse
	// compacted are the cancellations by the server, by watch ID.
	compacted map[int64]*pb.WatchResponse
	// events by watch ID.
	events map[int64][]*mvccpb.Event
	// responses with events, by watch ID.
	responses map[int64][]eventResponse
	progress  []progress
	// fragments are the fragments of a response that is incomplete.
	fragments map[int64]*pb.WatchResponse
}

// eventResponse is the shape of a response with events.
type eventResponse struct {
	// revision is the revision in the header.
	revision int64
	// first and last are the mod revisions of the first and the last event.
	first, last int64
	// events is the number of events, and parts the number of fragments.
	events, parts int
}

// progress is a response without events.
type progress struct {
	id, revision int64
	// controls is the number of controls received before it.
	controls int
	// received is the number of events that every watcher had received before it.
	received map[int64]int
}

func newWatchStream(ctx context.Context, t *target.Target) (*watchStream, error) {
	client, err := t.Watch.Watch(ctx)
	if err != nil {
		return nil, err
	}
	s := &watchStream{
		client:    client,
		changed:   make(chan struct{}),
		compacted: map[int64]*pb.WatchResponse{},
		events:    map[int64][]*mvccpb.Event{},
		responses: map[int64][]eventResponse{},
		fragments: map[int64]*pb.WatchResponse{},
	}
	go s.receive()
	return s, nil
}

// receive returns when the stream ends, whose context is the test's.
func (s *watchStream) receive() {
	for {
		r, err := s.client.Recv()
		s.mu.Lock()
		if err != nil {
			s.err = err
		} else if err := s.take(r); err != nil {
			s.err = err
		}
		ended := s.err != nil
		close(s.changed)
		s.changed = make(chan struct{})
		s.mu.Unlock()
		if ended {
			return
		}
	}
}

func (s *watchStream) take(r *pb.WatchResponse) error {
	h := r.GetHeader()
	if h.GetClusterId() == 0 || h.GetMemberId() == 0 || h.GetRaftTerm() == 0 {
		return fmt.Errorf("a response without identity: %v", r)
	}
	h.ClusterId, h.MemberId, h.RaftTerm = 1, 1, 1
	switch id := r.WatchId; {
	case r.CompactRevision != 0:
		if s.compacted[id] != nil {
			return fmt.Errorf("watcher %d was canceled by compaction twice", id)
		}
		s.compacted[id] = r
	case r.Created || r.Canceled:
		s.controls = append(s.controls, r)
	case len(r.Events) == 0:
		p := progress{id: id, revision: h.Revision, controls: len(s.controls), received: map[int64]int{}}
		for watcher, events := range s.events {
			p.received[watcher] = len(events)
		}
		s.progress = append(s.progress, p)
	default:
		s.takeEvents(id, r)
	}
	return nil
}

func (s *watchStream) takeEvents(id int64, r *pb.WatchResponse) {
	s.events[id] = append(s.events[id], r.Events...)
	last := r.Events[len(r.Events)-1].Kv.ModRevision
	list := s.responses[id]
	if s.fragments[id] != nil {
		e := &list[len(list)-1]
		e.last, e.events, e.parts = last, e.events+len(r.Events), e.parts+1
	} else {
		s.responses[id] = append(list, eventResponse{
			revision: r.Header.Revision,
			first:    r.Events[0].Kv.ModRevision,
			last:     last,
			events:   len(r.Events),
			parts:    1,
		})
	}
	if r.Fragment {
		s.fragments[id] = r
	} else {
		delete(s.fragments, id)
	}
}

// wait returns when condition holds, or when the stream or ctx has ended. It calls condition with the stream locked.
func (s *watchStream) wait(ctx context.Context, condition func() bool) error {
	for {
		s.mu.Lock()
		done, err, changed := condition(), s.err, s.changed
		s.mu.Unlock()
		if done {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the watch stream ended: %w", err)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// control waits for the answer with index n to a creation or cancellation.
func (s *watchStream) control(ctx context.Context, n int) (*pb.WatchResponse, error) {
	err := s.wait(ctx, func() bool { return len(s.controls) > n })
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.controls[n], nil
}
