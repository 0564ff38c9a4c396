package server

import (
	"io"
	stdlog "log"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/stele-db/stele/pkg/version"
	"github.com/stele-db/stele/server/transport"
)

// newHTTPHandler returns a handler for the HTTP endpoints of etcd: /version, /health, /livez, /readyz and /metrics. It
// passes gRPC requests of clients that also speak HTTP/1.1 to grpc, and JSON requests below /v3/ to gateway.
func newHTTPHandler(m *member, opts *Options, grpc, gateway http.Handler) http.Handler {
	mux := newHTTPMux(opts, m.clusterVersion)
	mux.Handle("/v3/", gateway)
	mux.Handle("/v3beta/", gateway)
	return withGRPC(grpc, opts.httpLimits().handler(withCORS(opts.CORSOrigins, mux)))
}

// newHTTPMux returns a handler for the endpoints that do not need a store. storage returns the version of the cluster
// and of the storage.
func newHTTPMux(opts *Options, storage func() string) *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("/version", getOnly(func(w http.ResponseWriter, _ *http.Request) { serveVersion(w, storage()) }))
	opts.Probes.Register(mux)
	if opts.Gatherer != nil {
		mux.Handle("/metrics", promhttp.HandlerFor(opts.Gatherer, promhttp.HandlerOpts{}))
	}
	return mux
}

// withGRPC passes gRPC requests to grpc and all other requests to limited.
func withGRPC(grpc, limited http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
			grpc.ServeHTTP(w, r)
			return
		}
		limited.ServeHTTP(w, r)
	})
}

// serveVersion writes etcd's fields and the version of Stele, which the decoders of etcd's clients ignore.
func serveVersion(w http.ResponseWriter, storage string) {
	w.Header().Set("Content-Type", "application/json")
	writeJSON(w, struct {
		Server  string `json:"etcdserver"`
		Cluster string `json:"etcdcluster"`
		Storage string `json:"storage"`
		Stele   string `json:"stele"`
	}{version.Etcd, storage, storage, version.Version})
}

func newHTTPServer(opts *Options, handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: opts.HandshakeTimeout,
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnContext:       transport.HTTPContext,
		// Client errors are not logged.
		ErrorLog: stdlog.New(io.Discard, "", 0),
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: int(min(opts.MaxConcurrentStreams, math.MaxInt32))},
	}
}

func (o *Options) httpLimits() httpLimits {
	limits := newHTTPLimits(jsonFactor * int64(o.MaxRequestBytes+grpcOverheadBytes))
	limits.bodyTimeout = o.BodyTimeout
	return limits
}
