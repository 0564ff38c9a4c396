package server

import (
	"context"
	"errors"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // clients may compress requests
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/logstructured/log"
	"github.com/stele-db/stele/pkg/version"
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

// New prepares a server; [Server.Run] starts it. The store must be open, and must stay open until Run returns. New must
// be called before the store's Run, because it announces this replica (see [logstructured.Store.Announce]).
func New(store *logstructured.Store, opts Options) (*Server, error) {
	starting, err := prepare(opts)
	if err != nil {
		return nil, err
	}
	return newServer(starting, store)
}

// Server prepares the server of a store, which takes ownership of the listeners. From then on clients wait until it
// runs. The store must be open, and must stay open until the server's Run returns. registerer receives the server's
// metrics; nil registers none.
func (s *Starting) Server(store *logstructured.Store, registerer prometheus.Registerer) (*Server, error) {
	s.opts.Registerer = registerer
	server, err := newServer(s, store)
	if err == nil && s.dispatch != nil {
		s.leave()
	}
	return server, err
}

func newServer(starting *Starting, store *logstructured.Store) (*Server, error) {
	opts := starting.opts
	m := newMember(store, &opts)
	store.Announce(log.Replica{
		ID: m.memberID, Name: opts.Name, ClientURLs: opts.AdvertiseClientURLs, Version: version.Version,
	})
	streams := &streamSet{}
	refusals := &refusalLog{warner: starting.warner, auth: m.auth}
	s := &Server{
		opts:      opts,
		starting:  starting,
		dispatch:  starting.dispatch,
		grpc:      opts.GRPCServer,
		health:    health.NewServer(),
		streams:   streams,
		snapshots: newSnapshotSlots(),
		passwords: newPasswords(),
		watch: &watchServer{
			member: m, fragmentBytes: opts.MaxRequestBytes + grpcOverheadBytes, streams: streams, refusals: refusals,
		},
	}
	for _, c := range versionMetrics() {
		if _, err := registered(opts.Registerer, c); err != nil {
			return nil, err
		}
	}
	opts.Probes.ready(m)
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
	if s.gateway, err = newGateway(s.queues.GRPC, m.auth.byCertificate); err != nil {
		return nil, err
	}
	s.http = newHTTPServer(&opts, newHTTPHandler(m, &opts, s.grpc, s.gateway))
	s.dispatch.SetQueues(s.queues)
	return s, nil
}

// register registers etcd's services, health and reflection with the gRPC server. The caller's gRPC server keeps its
// own health service, and reflection is left to the caller.
func (s *Server) register(m *member) {
	kv := &kvServer{member: m, maxRequestBytes: s.opts.MaxRequestBytes, maxTxnOps: s.opts.MaxTxnOps}
	lease := &leaseServer{member: m, streams: s.streams}
	sessions := lockSessions{member: m, kv: kv, lease: lease, streams: s.streams}
	pb.RegisterKVServer(s.grpc, kv)
	pb.RegisterWatchServer(s.grpc, s.watch)
	pb.RegisterLeaseServer(s.grpc, lease)
	v3lockpb.RegisterLockServer(s.grpc, &lockServer{lockSessions: sessions})
	v3electionpb.RegisterElectionServer(s.grpc, &electionServer{lockSessions: sessions})
	pb.RegisterClusterServer(s.grpc, &clusterServer{member: m})
	pb.RegisterMaintenanceServer(s.grpc, &maintenanceServer{
		member: m, logger: s.opts.Logger, streams: s.streams, snapshots: s.snapshots,
	})
	pb.RegisterAuthServer(s.grpc, &authServer{
		member: m, logger: s.opts.Logger, passwords: s.passwords, maxRequestBytes: s.opts.MaxRequestBytes,
	})
	if s.opts.GRPCServer == nil {
		healthpb.RegisterHealthServer(s.grpc, s.health)
		registerReflection(s.grpc)
		return
	}
	if _, ok := s.grpc.GetServiceInfo()[healthpb.Health_ServiceDesc.ServiceName]; !ok {
		healthpb.RegisterHealthServer(s.grpc, s.health)
	}
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

// serveInjected serves the caller's gRPC server on the listeners, of which it takes ownership. The caller may also
// serve it on other listeners, and stop it.
func (s *Server) serveInjected(group *errgroup.Group) {
	for _, l := range s.opts.Listeners {
		group.Go(func() error {
			limited := transport.LimitConnections(l.Listener, s.opts.maxConnections())
			if err := s.grpc.Serve(limited); !errors.Is(err, grpc.ErrServerStopped) {
				return err
			}
			return nil
		})
	}
}

// served returns nil if err means that the server was stopped.
func served(err error) error {
	if errors.Is(err, grpc.ErrServerStopped) || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
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
