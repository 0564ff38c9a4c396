package server

import (
	"context"
	"sync"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// streamSet holds the open streams that do not end by themselves, so that the server can end them.
type streamSet struct {
	mu      sync.Mutex
	enders  map[*func()]struct{}
	stopped bool

	// receivers counts the goroutines that read from or send to streams apart from their handlers.
	receivers sync.WaitGroup
}

// wait waits until all receivers have ended. All handlers must have returned or be about to return.
func (s *streamSet) wait() { s.receivers.Wait() }

// add registers end, which is called when the server stops unless remove was called before. It fails with etcd's error
// if the server has stopped already.
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

// interceptHealth ends health watches when the server stops. Otherwise only their clients end them.
func (s *streamSet) interceptHealth(
	srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler,
) error {
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
