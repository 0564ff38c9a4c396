package server

import (
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/pkg/version"
	"github.com/stele-db/stele/server/transport"
)

// handoverTimeout is how long clients may take to disconnect from the server that answered before the store was open.
const handoverTimeout = time.Second

// Starting answers clients while the store is being opened, so that they do not have to wait. It serves [Probes],
// /version and /metrics; all other requests fail with Unavailable and the reason. With [Options.GRPCServer] it does
// nothing.
type Starting struct {
	opts     Options
	warner   *warner
	dispatch *transport.Dispatcher
	answers  *outboxes
	grpc     *grpc.Server
	http     *http.Server
	// accepting counts the goroutines that accept connections, until the listeners are closed. serving counts the
	// goroutines of the two servers.
	accepting, serving sync.WaitGroup
	once               sync.Once
}

// Start starts answering clients. If it returns no error, it takes ownership of the listeners; [Starting.Close] or the
// server closes them.
func Start(opts Options) (*Starting, error) {
	s, err := prepare(opts)
	if err != nil || s.dispatch == nil {
		return s, err
	}
	queues := s.dispatch.Queues()
	s.serving.Go(func() { _ = s.grpc.Serve(queues.GRPC) })
	s.serving.Go(func() { _ = s.http.Serve(queues.HTTP) })
	s.accept()
	return s, nil
}

// prepare creates a Starting that does not answer yet.
func prepare(opts Options) (*Starting, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := available(opts.GRPCServer); err != nil {
		return nil, err
	}
	s := &Starting{opts: opts, warner: newWarner(opts.Logger)}
	if opts.GRPCServer != nil {
		return s, nil
	}
	s.answers = newOutboxes(processBytes)
	s.dispatch = transport.NewDispatcher(transport.Options{
		Logger:           opts.Logger,
		HandshakeTimeout: opts.HandshakeTimeout,
		MaxHandshakes:    opts.MaxHandshakes,
		MaxConnections:   opts.maxConnections(),
		Observe:          s.observe,
		HandshakeFailed: func(client net.Addr, err error) {
			none := func() logrus.Fields { return nil }
			s.warner.warn("handshake", hostOf(client), "a TLS handshake failed", err, none)
		},
	})
	s.grpc = grpc.NewServer(append(connectionOptions(opts),
		grpc.Creds(transport.NewCredentials(nil)), grpc.UnknownServiceHandler(s.unavailable))...)
	notServing := health.NewServer()
	notServing.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	healthpb.RegisterHealthServer(s.grpc, notServing)
	mux := newHTTPMux(&s.opts, func() string { return version.EtcdCluster })
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, opts.Probes.Reason(), http.StatusServiceUnavailable)
	})
	s.http = newHTTPServer(&s.opts, withGRPC(s.grpc, opts.httpLimits().handler(withCORS(opts.CORSOrigins, mux))))
	return s, nil
}

// observe creates the outboxes of a new connection.
func (s *Starting) observe(conn net.Conn) transport.Observer {
	return s.answers.open(unaryBytes, streamBytes, func() {
		s.opts.Logger.WithField("client", conn.RemoteAddr()).
			Warn("closed a connection whose client does not read its answers: other clients need the memory")
		_ = conn.Close()
	})
}

// unavailable fails every request.
func (s *Starting) unavailable(any, grpc.ServerStream) error {
	return status.Error(codes.Unavailable, "stele: not ready: "+s.opts.Probes.Reason())
}

// accept starts accepting connections. It does nothing if called again.
func (s *Starting) accept() {
	s.once.Do(func() {
		for _, l := range s.opts.Listeners {
			s.accepting.Go(func() { s.dispatch.Accept(l) })
		}
	})
}

// Close stops answering and closes the listeners.
func (s *Starting) Close() {
	for _, l := range s.opts.Listeners {
		_ = l.Close()
	}
	if s.dispatch == nil {
		return
	}
	queues := s.dispatch.Queues()
	_, _ = queues.GRPC.Close(), queues.HTTP.Close()
	s.dispatch.Stop()
	s.leave()
	s.accepting.Wait()
}

// leave stops the two servers. gRPC clients receive GOAWAY and connect again.
func (s *Starting) leave() {
	_ = s.http.Close()
	forced := time.AfterFunc(handoverTimeout, s.grpc.Stop)
	s.grpc.GracefulStop()
	forced.Stop()
	s.serving.Wait()
}
