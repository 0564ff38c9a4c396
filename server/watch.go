package server

import (
	"context"
	"errors"
	"io"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/stele-db/stele/logstructured"
)

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

	s.streams.receivers.Go(func() {
		// A client that has closed its sending side (EOF) still gets its events.
		if err := s.receive(stream, ws); err != nil {
			cancel(err)
		}
	})

	budget := newStreamBudget(ctx)
	if budget != nil {
		defer budget.drop()
		ws.SetBudget(budget)
	}
	send := func(resp *pb.WatchResponse) error { return budget.send(stream, resp) }
	for {
		resp, err := ws.Next(ctx)
		if err != nil {
			return watchError(ctx, err)
		}
		if resp.Err != nil {
			s.refusals.check(ctx, pb.Watch_Watch_FullMethodName, nil, resp.Err)
		}
		if resp.Fragment {
			err = sendFragments(s.newWatch(resp), s.fragmentBytes, send)
		} else {
			err = send(s.newWatch(resp))
		}
		if err != nil {
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

// receive passes requests to ws until the client sends no more.
func (s *watchServer) receive(stream pb.Watch_WatchServer, ws *logstructured.WatchStream) error {
	ctx := stream.Context()
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

type watchAnswer struct {
	pb.WatchResponse
	header pb.ResponseHeader
}

func (m *member) newWatch(r *logstructured.WatchResponse) *pb.WatchResponse {
	a := &watchAnswer{}
	a.Header = &a.header
	m.setHeader(a.Header, r.Revision)
	a.WatchId = int64(r.WatchID)
	a.Created = r.Created
	a.Canceled = r.Canceled
	a.CompactRevision = int64(r.CompactRevision)
	a.CancelReason = cancelReason(r.Err)
	a.Events = r.Events
	return &a.WatchResponse
}
