package server

import (
	"context"
	"errors"
	"io"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/stele-db/stele/logstructured"
)

// maxPendingCreates is how many creations of one stream may wait for their responses before the next request is read.
// The creations that wait share one query to the database.
const maxPendingCreates = 256

// watchServer is etcd's Watch service.
type watchServer struct {
	pb.UnsafeWatchServer
	*member
	// fragmentBytes is the size above which a response is split for clients that requested fragments.
	fragmentBytes int

	streams  *streamSet
	refusals *refusalLog
}

// Watch sends in its own goroutine and receives in another one. The receiver ends shortly after Watch returns at the
// latest: returning from a handler ends the stream, which unblocks a pending Recv.
func (s *watchServer) Watch(stream pb.Watch_WatchServer) error {
	ws := s.store.NewWatchStream()
	defer ws.Close()
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	remove, err := s.streams.add(func() {
		ws.Close()
		cancel(logstructured.ErrStopped) // Next may wait for room in the outbox
	})
	if err != nil {
		return err
	}
	defer remove()

	creates := make(chan bool, maxPendingCreates)
	s.streams.receivers.Go(func() {
		// A client that has closed its sending side (EOF) still gets its events.
		if err := s.receive(ctx, stream, ws, creates); err != nil {
			cancel(err)
		}
	})

	sender := watchSender{member: s.member, stream: stream, creates: creates, fragmentBytes: s.fragmentBytes}
	if sender.budget = newStreamBudget(ctx); sender.budget != nil {
		defer sender.budget.drop()
		ws.SetBudget(sender.budget)
	}
	for {
		resp, err := ws.Next(ctx)
		if err != nil {
			return watchError(ctx, err)
		}
		if resp.Err != nil {
			s.refusals.check(ctx, pb.Watch_Watch_FullMethodName, nil, resp.Err)
		}
		if err := sender.send(resp); err != nil {
			return err
		}
	}
}

// watchError returns the status of a stream that ended with err. It returns etcd's own error if the client canceled the
// stream.
func watchError(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return toStatus(err)
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return toWaitStatus(cause)
	}
	return rpctypes.ErrGRPCWatchCanceled
}

// receive passes requests to ws until the client sends no more. It sends to creates, in the order of the creations,
// whether each of them requested fragments.
func (s *watchServer) receive(ctx context.Context, stream pb.Watch_WatchServer, ws *logstructured.WatchStream, creates chan<- bool) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch r := req.RequestUnion.(type) {
		case *pb.WatchRequest_CreateRequest:
			if r.CreateRequest == nil {
				continue
			}
			select {
			case creates <- r.CreateRequest.Fragment:
			case <-ctx.Done():
				return nil
			}
			ws.Create(s.auth.guard(ctx, r.CreateRequest, s.auth.current()), toWatch(r.CreateRequest))
		case *pb.WatchRequest_CancelRequest:
			if r.CancelRequest != nil {
				ws.Cancel(logstructured.WatchID(r.CancelRequest.WatchId))
			}
		case *pb.WatchRequest_ProgressRequest:
			if r.ProgressRequest != nil {
				ws.RequestProgress()
			}
		}
	}
}

// watchSender turns the store's responses into messages. It is used by the sending goroutine only.
type watchSender struct {
	*member
	stream        pb.Watch_WatchServer
	creates       <-chan bool
	fragmentBytes int
	// budget is nil if the stream is served by [Options.GRPCServer].
	budget *streamBudget
	// fragmented holds the watchers that requested fragments. It is nil until the first one.
	fragmented map[logstructured.WatchID]struct{}
}

func (s *watchSender) send(r *logstructured.WatchResponse) error {
	resp := s.newWatch(r)
	switch {
	case r.Created:
		// The store answers creations in the order in which they were requested.
		if fragment := <-s.creates; fragment && !r.Canceled {
			if s.fragmented == nil {
				s.fragmented = map[logstructured.WatchID]struct{}{}
			}
			s.fragmented[r.WatchID] = struct{}{}
		}
	case r.Canceled:
		delete(s.fragmented, r.WatchID)
	case len(r.Events) > 1:
		if _, ok := s.fragmented[r.WatchID]; ok {
			return sendFragments(resp, s.fragmentBytes, func(piece *pb.WatchResponse) error { return s.budget.send(s.stream, piece) })
		}
	}
	return s.budget.send(s.stream, resp)
}
