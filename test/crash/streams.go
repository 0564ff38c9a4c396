package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/protobuf/proto"
)

// stream is a client with one watch stream, which it opens again whenever it breaks.
type stream struct {
	record *StreamRecord
	// servers are the servers to visit, in order, and conns the connections to them.
	servers []int
	conns   []*grpc.ClientConn
	now     func() time.Duration
	// askProgress is how often the client sends RequestProgress; 0 is never.
	askProgress time.Duration
	// wander makes every session start at a random revision of the past and end once it has caught up.
	wander bool
	// move is the approximate time that the stream stays with one server; 0 means until it breaks.
	move time.Duration
	// target is the revision to reach before the stream may end; 0 while it is unknown.
	target *atomic.Int64
	// past gives the oldest and the newest revision to start from.
	past func() (oldest, newest int64)

	rand *rand.Rand
	// events holds each event once: a stream that wanders receives the same events hundreds of times.
	events map[eventID]*mvccpb.Event
	// next are the revisions to resume from.
	next []int64
	// done is the revision up to which all watchers have seen everything.
	done atomic.Int64
}

// eventID identifies an event among those of one kind of watcher.
type eventID struct {
	rev int64
	key string
}

// keep replaces the events of a response by equal ones that were received before.
func (s *stream) keep(w *pb.WatchResponse) {
	if s.events == nil {
		s.events = map[eventID]*mvccpb.Event{}
	}
	for i, e := range w.Events {
		id := eventID{e.GetKv().GetModRevision(), string(e.GetKv().GetKey())}
		if same, ok := s.events[id]; ok && proto.Equal(same, e) {
			w.Events[i] = same
		} else {
			s.events[id] = e
		}
	}
}

// run watches until all watchers have reached the target.
func (s *stream) run(ctx context.Context) error {
	for i := 0; ctx.Err() == nil; i++ {
		if s.finished() {
			return nil
		}
		session := Session{Server: s.servers[i%len(s.servers)], Starts: append([]int64(nil), s.next...)}
		if s.wander {
			oldest, newest := s.past()
			for w := range session.Starts {
				session.Starts[w] = max(1, oldest) + s.rand.Int64N(max(1, newest-oldest))
			}
			copy(s.next, session.Starts)
		}
		if target := s.target.Load(); target > 0 {
			// A watcher that begins in the future is not synced, and a stream with such a watcher gets no progress:
			// other watchers of this stream may still need it.
			for w := range session.Starts {
				session.Starts[w] = min(session.Starts[w], target)
			}
		}
		s.session(ctx, s.conns[i%len(s.conns)], &session)
		s.record.Sessions = append(s.record.Sessions, session)
	}
	return fmt.Errorf("watch %s: %w at revision %d of %d%s", s.record.Name, context.Cause(ctx), s.done.Load(),
		s.target.Load(), s.latest())
}

// latest describes the last sessions.
func (s *stream) latest() string {
	var text strings.Builder
	for _, session := range s.record.Sessions[max(0, len(s.record.Sessions)-4):] {
		fmt.Fprintf(&text, "\n  server %d from %v:", session.Server, session.Starts)
		for _, r := range session.Responses[max(0, len(session.Responses)-6):] {
			fmt.Fprintf(&text, "\n    %v %s", r.At, brief(r.Response))
		}
	}
	return text.String()
}

func (s *stream) finished() bool {
	target := s.target.Load()
	return target > 0 && s.done.Load() >= target
}

// session runs one connection until it breaks, a watcher is canceled, or the stream has finished.
func (s *stream) session(ctx context.Context, conn *grpc.ClientConn, session *Session) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if s.move > 0 {
		moving := time.AfterFunc(s.move/2+time.Duration(s.rand.Int64N(int64(s.move))), cancel)
		defer moving.Stop()
	}
	open, cancelOpen := context.WithTimeoutCause(ctx, 5*time.Second, errors.New("no stream in 5 s"))
	defer cancelOpen()
	// The stream lives in ctx; open bounds only the wait for a connection.
	conn.Connect()
	for state := conn.GetState(); state != connectivity.Ready; state = conn.GetState() {
		if !conn.WaitForStateChange(open, state) {
			return
		}
		conn.Connect()
	}
	client, err := pb.NewWatchClient(conn).Watch(ctx)
	if err != nil {
		return
	}
	session.Opened = s.now()
	for i, spec := range s.record.Watchers {
		create := &pb.WatchCreateRequest{
			Key: spec.Key, RangeEnd: spec.RangeEnd, StartRevision: session.Starts[i], PrevKv: spec.PrevKv,
			ProgressNotify: spec.ProgressNotify, Filters: spec.Filters, Fragment: spec.Fragment,
		}
		if client.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create}}) != nil {
			return
		}
	}
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	asking.Go(func() { s.ask(ctx, cancel, client) })

	goal := int64(0)
	if s.wander {
		_, goal = s.past()
	}
	for {
		w, err := client.Recv()
		if err != nil {
			return
		}
		at := s.now()
		s.keep(w)
		session.Responses = append(session.Responses, Received{At: at, Response: w})
		if w.Canceled {
			// The other watchers of this stream that are behind will be canceled too.
			for i := range s.next {
				s.next[i] = max(s.next[i], w.CompactRevision)
			}
			return
		}
		s.advance(w)
		if s.finished() || s.wander && s.done.Load() >= goal {
			return
		}
	}
}

// ask requests progress. At the end of the run every stream does, to learn that it has seen everything. It ends a
// stream that has: its watchers may all begin in the future, and then the server does not answer.
func (s *stream) ask(ctx context.Context, end func(), client pb.Watch_WatchClient) {
	every := s.askProgress
	if every == 0 {
		every = 100 * time.Millisecond
	}
	requestProgress(ctx, client, every, func() bool {
		if s.finished() {
			end()
		}
		return s.askProgress > 0 || s.target.Load() > 0
	})
}

// requestProgress sends requests until ctx ends or the stream breaks, because a server may ignore a request while a
// watcher is catching up. It sends only while when returns true, unless when is nil.
func requestProgress(ctx context.Context, client pb.Watch_WatchClient, every time.Duration, when func() bool) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if when != nil && !when() {
			continue
		}
		if client.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{
			ProgressRequest: &pb.WatchProgressRequest{},
		}}) != nil {
			return
		}
	}
}

// advance moves the revisions to resume from past the last whole revision or the last progress notification.
func (s *stream) advance(w *pb.WatchResponse) {
	for i := range s.next {
		if w.WatchId != int64(i) && w.WatchId != -1 {
			continue
		}
		switch {
		case w.Created:
			if s.next[i] == 0 {
				s.next[i] = w.Header.Revision + 1
			}
		case len(w.Events) == 0:
			s.next[i] = max(s.next[i], w.Header.Revision+1)
		default:
			last := w.Events[len(w.Events)-1].Kv.ModRevision
			if !w.Fragment {
				last++
			}
			s.next[i] = max(s.next[i], last)
		}
	}
	done := s.next[0]
	for _, n := range s.next {
		done = min(done, n)
	}
	s.done.Store(done - 1)
}

// complete returns the history after revision last that a watch of everything recorded.
func complete(record *StreamRecord, last int64) []Revision {
	var full []Revision
	for _, session := range record.Sessions {
		for _, r := range session.Responses {
			for _, e := range r.Response.Events {
				switch rev := e.Kv.ModRevision; {
				case rev > last:
					full = append(full, Revision{Rev: rev, Seen: r.At})
					last = rev
					fallthrough
				case rev == last && len(full) > 0 && full[len(full)-1].Seen == r.At:
					full[len(full)-1].Events = append(full[len(full)-1].Events, e)
				}
			}
		}
	}
	return full
}

// watchers returns the streams of a run: one of everything, which records the history, and others of all kinds.
func watchers() []*stream {
	all := func() *pb.WatchCreateRequest {
		return &pb.WatchCreateRequest{Key: []byte{0}, RangeEnd: []byte{0}, StartRevision: 1}
	}
	everything, fragments, notified, late := all(), all(), all(), all()
	everything.PrevKv = true
	fragments.PrevKv, fragments.Fragment = true, true
	notified.ProgressNotify = true
	late.PrevKv = true
	fromNow := all()
	fromNow.StartRevision = 0
	noPut, noDelete := all(), all()
	noPut.Filters = []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NOPUT}
	noPut.PrevKv = true
	noDelete.Filters = []pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NODELETE}
	var groups []*pb.WatchCreateRequest
	for _, p := range prefixes {
		groups = append(groups, &pb.WatchCreateRequest{
			Key: []byte(p), RangeEnd: prefixEnd(p), StartRevision: 1, PrevKv: true, ProgressNotify: true,
		})
	}
	var single []*pb.WatchCreateRequest
	for _, n := range names {
		single = append(single, &pb.WatchCreateRequest{Key: []byte(prefixes[0] + n), StartRevision: 1})
	}
	quiet := &pb.WatchCreateRequest{Key: []byte("none"), StartRevision: 1, ProgressNotify: true}

	newStream := func(name string, ask time.Duration, specs ...*pb.WatchCreateRequest) *stream {
		return &stream{record: &StreamRecord{Name: name, Watchers: specs}, askProgress: ask}
	}
	wanderer := newStream("wanderer", 50*time.Millisecond, late)
	wanderer.wander = true
	return []*stream{
		newStream("everything", 0, everything),
		newStream("fragments", 110*time.Millisecond, fragments),
		newStream("notified", 0, notified),
		newStream("from now", 0, fromNow),
		newStream("filtered", 130*time.Millisecond, noPut, noDelete),
		newStream("prefixes", 40*time.Millisecond, groups...),
		newStream("single keys", 170*time.Millisecond, single...),
		newStream("quiet", 90*time.Millisecond, quiet),
		wanderer,
	}
}

const pinnedName = "pinned to "

// pinned returns a stream for each server that stays with it even if it fails.
func pinned(servers int) []*stream {
	var streams []*stream
	for i := range servers {
		streams = append(streams, &stream{record: &StreamRecord{
			Name: fmt.Sprint(pinnedName, i),
			Watchers: []*pb.WatchCreateRequest{{
				Key: []byte{0}, RangeEnd: []byte{0}, StartRevision: 1, PrevKv: true, ProgressNotify: true,
			}},
		}})
	}
	return streams
}

// Broken returns how often the stream that is pinned to a server broke. A cancellation because the stream was behind a
// compaction does not count.
func (h *History) Broken(server int) int {
	broken := 0
	for _, s := range h.Streams {
		if s.Name != fmt.Sprint(pinnedName, server) {
			continue
		}
		// The last session ended because the run did.
		for _, session := range s.Sessions[:max(len(s.Sessions)-1, 0)] {
			if n := len(session.Responses); n == 0 || !session.Responses[n-1].Response.Canceled {
				broken++
			}
		}
	}
	return broken
}
