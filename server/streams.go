package server

import (
	"context"
	"sync"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// streamSet holds the streams that last until somebody ends them, so that the server can.
type streamSet struct {
	mu      sync.Mutex
	enders  map[*func()]struct{}
	stopped bool

	// receivers are the goroutines that read from streams beside their handlers.
	receivers sync.WaitGroup
}

// wait returns when no receiver is left. All handlers must have returned or be about to.
func (s *streamSet) wait() { s.receivers.Wait() }

// add registers end, to be called when the server stops, unless remove was called before. It fails with etcd's error if
// that has happened already.
func (s *streamSet) add(end func()) (remove func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil, rpctypes.ErrGRPCStopped
	}
	if s.enders == nil {
		s.enders = map[*func()]struct{}{}
	}
	s.enders[&end] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.enders, &end)
	}, nil
}

// stop ends all streams.
func (s *streamSet) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	for end := range s.enders {
		(*end)()
	}
}

// interceptHealth lets health watches, which otherwise end only when their client goes, end with the server.
func (s *streamSet) interceptHealth(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if info.FullMethod != healthpb.Health_Watch_FullMethodName {
		return handler(srv, ss)
	}
	ctx, cancel := context.WithCancel(ss.Context())
	defer cancel()
	remove, err := s.add(cancel)
	if err != nil {
		return err
	}
	defer remove()
	err = handler(srv, streamWithContext{ServerStream: ss, context: func() context.Context { return ctx }})
	if ctx.Err() != nil && ss.Context().Err() == nil {
		return rpctypes.ErrGRPCStopped
	}
	return err
}

type streamWithContext struct {
	grpc.ServerStream
	context func() context.Context
}

func (s streamWithContext) Context() context.Context { return s.context() }
