package server

import (
	"context"
	"errors"
	"math"
	"net/http"
	"runtime/debug"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/logstructured"
)

// Server serves one store on some listeners.
type Server struct {
	opts    Options
	grpc    *grpc.Server
	health  *health.Server
	watch   *watchServer
	streams *streamSet
	// snapshots bounds those that are being sent.
	snapshots *snapshotSlots
	// passwords bounds those that are hashed.
	passwords *passwords

	// starting accepts connections.
	starting *Starting

	// dispatch, queues, http and gateway are nil if grpc is the caller's.
	dispatch *dispatcher
	queues   *queues
	http     *http.Server
	gateway  *gateway
}

// New prepares a server; [Server.Run] starts it. The store must be open, and outlive the server.
func New(store *logstructured.Store, opts Options) (*Server, error) {
	starting, err := prepare(opts)
	if err != nil {
		return nil, err
	}
	return newServer(starting, store)
}

func newServer(starting *Starting, store *logstructured.Store) (*Server, error) {
	opts := starting.opts
	m := newMember(store, &opts)
	streams := &streamSet{}
	refusals := &refusalLog{warner: starting.warner, auth: m.auth}
	s := &Server{
		opts:      opts,
		starting:  starting,
		dispatch:  starting.dispatch,
		grpc:      opts.GRPCServer,
		health:    health.NewServer(),
		watch:     &watchServer{member: m, fragmentBytes: opts.MaxRequestBytes + grpcOverheadBytes, streams: streams, refusals: refusals},
		streams:   streams,
		snapshots: newSnapshotSlots(),
		passwords: newPasswords(),
	}
	for _, c := range versionMetrics() {
		if _, err := registered(opts.Registerer, c); err != nil {
			return nil, err
		}
	}
	opts.Probes.serving(m)
	if s.grpc != nil {
		s.register(m)
		return s, nil
	}
	metrics, err := registered(opts.Registerer, newRPCMetrics())
	if err != nil {
		return nil, err
	}
	calls := calls{}
	s.grpc = grpc.NewServer(grpcOptions(opts, calls, refusals, streams, s.dispatch.answers)...)
	s.register(m)
	calls.add(metrics, s.grpc)

	s.queues = newQueues()
	if s.gateway, err = newGateway(s.queues.grpc, m.auth); err != nil {
		return nil, err
	}
	s.http = newHTTPServer(&opts, newHTTPHandler(m, &opts, s.grpc, s.gateway))
	s.dispatch.queues.Store(s.queues)
	return s, nil
}

// registered registers c, and returns the one that is there already if a server of this process did so before.
func registered[C prometheus.Collector](r prometheus.Registerer, c C) (C, error) {
	if r == nil {
		return c, nil
	}
	err := r.Register(c)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if existing, ok := already.ExistingCollector.(C); ok {
			return existing, nil
		}
	}
	return c, err
}

// streamWorkers is a cluster's watch streams (Kubernetes opens some sixty) and its usual concurrency. They cost half a
// megabyte.
const streamWorkers = 256

func grpcOptions(opts Options, calls calls, refusals *refusalLog, streams *streamSet, answers *outboxes) []grpc.ServerOption {
	recovered := recovery.WithRecoveryHandlerContext(func(_ context.Context, p any) error {
		opts.Logger.WithFields(logrus.Fields{"panic": p, "stack": string(debug.Stack())}).Error("a request panicked")
		return status.Error(codes.Internal, "etcdserver: internal error")
	})
	return append(connectionOptions(opts),
		// The gateway reads what it gets at once; its own clients are bounded by their connections.
		grpc.Creds(handshaken{pipe: answers.open(processBytes/2, processBytes/4, func() {})}),
		grpc.MaxRecvMsgSize(opts.MaxRequestBytes+grpcOverheadBytes),
		grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.ForceServerCodecV2(newCodec()),
		// Fewer writes for lists and for the answers of a group of requests. Connections that have nothing to write
		// hold no buffer.
		grpc.WriteBufferSize(128<<10),
		grpc.ChainUnaryInterceptor(calls.interceptUnary, refusals.interceptUnary, recovery.UnaryServerInterceptor(recovered), interceptUnaryAnswer),
		grpc.ChainStreamInterceptor(calls.interceptStream, refusals.interceptStream, recovery.StreamServerInterceptor(recovered), interceptStreamAnswers, streams.interceptHealth),
		// A goroutine that has grown its stack for one request serves the next; more are started when all are busy.
		// Watch streams keep one each, so there are more than of processors.
		grpc.NumStreamWorkers(streamWorkers),
		// Fixed windows spare the ping with which grpc estimates bandwidth on every request that arrives.
		grpc.InitialWindowSize(1<<20),
		grpc.InitialConnWindowSize(4<<20),
		grpc.WaitForHandlers(true),
	)
}

// Run serves until ctx ends; then it stops accepting, tells health checks and watchers, lets the requests in flight
// finish for Options.ShutdownTimeout, and returns when everything it started has stopped and the listeners are closed.
// It returns an error only if serving failed. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	if s.dispatch == nil {
		s.serveInjected(group)
	} else {
		s.serveOwn(group)
	}
	for _, l := range s.opts.Listeners {
		s.opts.Logger.WithField("url", l.URL()).Info("serving clients")
	}
	group.Go(func() error {
		<-ctx.Done()
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.ShutdownTimeout)
		defer cancel()
		s.shutdown(bounded)
		return nil
	})
	err := group.Wait()
	s.streams.wait()
	return err
}

// serveOwn serves gRPC and HTTP on the listeners.
func (s *Server) serveOwn(group *errgroup.Group) {
	group.Go(func() error { return served(s.grpc.Serve(s.queues.grpc)) })
	group.Go(func() error { return served(s.http.Serve(s.queues.http)) })
	s.starting.accept()
	group.Go(func() error {
		s.starting.accepting.Wait()
		return nil
	})
}

// shutdown returns when no request is left, and no later than shortly after ctx ended.
func (s *Server) shutdown(ctx context.Context) {
	s.health.Shutdown()
	if s.dispatch == nil {
		// Nothing is closed before the caller's server, which takes a listener that closes for a failure.
		s.streams.stop()
		s.drain(ctx)
		return
	}
	for _, l := range s.opts.Listeners {
		_ = l.Close()
	}
	s.dispatch.stop()
	s.streams.stop()

	// net/http first: grpc cannot drain requests that came through it.
	if err := s.http.Shutdown(ctx); err != nil {
		_ = s.http.Close()
		_ = s.gateway.close()
		s.grpc.Stop()
		return
	}
	_ = s.gateway.close()
	s.drain(ctx)
}

// drain lets the requests in flight finish until ctx ends.
func (s *Server) drain(ctx context.Context) {
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		s.grpc.GracefulStop()
	}()
	select {
	case <-drained:
	case <-ctx.Done():
		s.grpc.Stop()
		<-drained
	}
}
