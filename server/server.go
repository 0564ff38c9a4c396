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
	"github.com/stele-db/stele/server/transport"
)

// Server serves one store on some listeners.
type Server struct {
	opts    Options
	grpc    *grpc.Server
	health  *health.Server
	watch   *watchServer
	streams *streamSet
	// snapshots bounds the snapshots that are being sent.
	snapshots *snapshotSlots
	// passwords bounds the passwords that are being hashed.
	passwords *passwords

	// starting accepts connections.
	starting *Starting

	// dispatch, queues, http and gateway are nil if grpc is the caller's.
	dispatch *transport.Dispatcher
	queues   *transport.Queues
	http     *http.Server
	gateway  *gateway
}

// New prepares a server; [Server.Run] starts it. The store must be open, and must stay open until Run returns.
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
	s.grpc = grpc.NewServer(grpcOptions(opts, calls, refusals, streams, starting.answers)...)
	s.register(m)
	calls.add(metrics, s.grpc)

	s.queues = transport.NewQueues()
	if s.gateway, err = newGateway(s.queues.GRPC, m.auth); err != nil {
		return nil, err
	}
	s.http = newHTTPServer(&opts, newHTTPHandler(m, &opts, s.grpc, s.gateway))
	s.dispatch.SetQueues(s.queues)
	return s, nil
}

// registered registers c. If another server of this process has registered the same collector, it returns the existing
// one.
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

// streamWorkers covers the watch streams of a cluster (Kubernetes opens about sixty) and its usual concurrency. The
// workers cost half a megabyte.
const streamWorkers = 256

func grpcOptions(opts Options, calls calls, refusals *refusalLog, streams *streamSet, answers *outboxes) []grpc.ServerOption {
	recovered := recovery.WithRecoveryHandlerContext(func(_ context.Context, p any) error {
		opts.Logger.WithFields(logrus.Fields{"panic": p, "stack": string(debug.Stack())}).Error("a request panicked")
		return status.Error(codes.Internal, "etcdserver: internal error")
	})
	return append(connectionOptions(opts),
		// The gateway reads responses at once. Its clients are bounded by their own connections.
		grpc.Creds(transport.NewCredentials(answers.open(processBytes/2, processBytes/4, func() {}))),
		grpc.MaxRecvMsgSize(opts.MaxRequestBytes+grpcOverheadBytes),
		grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.ForceServerCodecV2(newCodec()),
		// This saves write calls for large lists and for the responses to a group of requests. Connections with nothing
		// to write hold no buffer.
		grpc.WriteBufferSize(128<<10),
		grpc.ChainUnaryInterceptor(calls.interceptUnary, refusals.interceptUnary, recovery.UnaryServerInterceptor(recovered), interceptUnaryAnswer),
		grpc.ChainStreamInterceptor(calls.interceptStream, refusals.interceptStream, recovery.StreamServerInterceptor(recovered), interceptStreamAnswers, streams.interceptHealth),
		// A worker whose stack has grown for one request serves the next one; grpc starts further goroutines when all
		// workers are busy. Each watch stream occupies a worker, so there are more workers than processors.
		grpc.NumStreamWorkers(streamWorkers),
		// Fixed windows avoid the ping with which grpc estimates the bandwidth on every request that arrives.
		grpc.InitialWindowSize(1<<20),
		grpc.InitialConnWindowSize(4<<20),
		grpc.WaitForHandlers(true),
	)
}

// Run serves until ctx ends. Then it stops accepting, notifies health checks and watchers, and waits up to
// Options.ShutdownTimeout for requests in flight. It returns when all of its goroutines have ended and the listeners
// are closed. It returns an error only if serving failed. It may be called once.
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
	group.Go(func() error { return served(s.grpc.Serve(s.queues.GRPC)) })
	group.Go(func() error { return served(s.http.Serve(s.queues.HTTP)) })
	s.starting.accept()
	group.Go(func() error {
		s.starting.accepting.Wait()
		return nil
	})
}

// shutdown stops the servers. It returns when no request is in flight, at the latest shortly after ctx ends.
func (s *Server) shutdown(ctx context.Context) {
	s.health.Shutdown()
	if s.dispatch == nil {
		// The caller's server must stop before its listeners are closed, because it treats a closed listener as a
		// failure.
		s.streams.stop()
		s.drain(ctx)
		return
	}
	for _, l := range s.opts.Listeners {
		_ = l.Close()
	}
	s.dispatch.Stop()
	s.streams.stop()

	// net/http stops first, because grpc cannot drain requests that came through it.
	if err := s.http.Shutdown(ctx); err != nil {
		_ = s.http.Close()
		_ = s.gateway.close()
		s.grpc.Stop()
		return
	}
	_ = s.gateway.close()
	s.drain(ctx)
}

// drain waits for the requests in flight, and cancels them when ctx ends.
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
