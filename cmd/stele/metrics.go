package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"expvar"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	pem "github.com/stele-db/stele/pkg/tls"
	"github.com/stele-db/stele/server"
	"github.com/stele-db/stele/server/transport"
)

// newRegistry returns a registry with the metrics of the process. The store and the server add theirs.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// listenMetrics returns the listener of --metrics-bind-address, or nil if the flag is not set. Plain text is allowed on
// any address: metrics and profiles hold no keys and no values, and the operator has named the address.
func (c *config) listenMetrics(ctx context.Context) (net.Listener, error) {
	if c.metricsAddress == "" || c.metricsAddress == "0" {
		if c.metricsProfiling {
			return nil, errors.New("--metrics-enable-profiling: profiles are served on --metrics-bind-address only, " +
				"which is not set; add, say, --metrics-bind-address=127.0.0.1:8080")
		}
		return nil, nil
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", c.metricsAddress)
	if err != nil {
		return nil, fmt.Errorf("--metrics-bind-address: cannot listen on %s: %w; "+
			"name a free address of this machine, or 0 for none", c.metricsAddress, cause(err))
	}
	if c.serverCertFile != "" && !c.metricsIgnoreTLS {
		suites, err := c.tls.suites()
		if err != nil {
			return nil, err
		}
		lowest, highest := c.tls.versions()
		// As in kine, scrapers need no client certificate. Each handshake reads the files, which may have been renewed.
		config, err := pem.Config{CertFile: c.serverCertFile, KeyFile: c.serverKeyFile}.ServerConfig()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("--server-cert-file, --server-key-file: %w", err), listener.Close())
		}
		config.MinVersion, config.MaxVersion, config.CipherSuites = lowest, highest, suites
		config.NextProtos = nil // HTTP/1.1 only
		listener = tls.NewListener(listener, config)
	}
	return listener, nil
}

// cause removes the operation and the address from err, which the caller's message has.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

const (
	metricsShutdownTimeout = 2 * time.Second
	// Few scrapers and profilers connect, and they send no bodies.
	maxMetricsConnections = 32
	maxMetricsBody        = 4 << 10
)

// serveVars serves the variables of package expvar in its format, without the command line: its --endpoint may have a
// password.
func serveVars(w http.ResponseWriter, _ *http.Request) {
	vars := make(map[string]json.RawMessage)
	expvar.Do(func(v expvar.KeyValue) {
		if v.Key != "cmdline" {
			vars[v.Key] = json.RawMessage(v.Value.String())
		}
	})
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(vars) // the scraper has disconnected
}

// serveMetrics serves /metrics and the probes on listener until ctx ends. If profiling is set, it also serves
// /debug/pprof/ and /debug/vars.
func serveMetrics(
	ctx context.Context, listener net.Listener, gatherer prometheus.Gatherer, probes *server.Probes, profiling bool,
) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{}))
	probes.Register(mux)
	if profiling {
		mux.HandleFunc("GET /debug/vars", serveVars)
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		// pprof.Cmdline is left out: the --endpoint may have a password.
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	srv := &http.Server{
		Handler: server.LimitHTTP(mux, maxMetricsBody), MaxHeaderBytes: 16 << 10,
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute,
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), metricsShutdownTimeout)
		defer cancel()
		stopped <- srv.Shutdown(ctx)
	})
	err := srv.Serve(transport.LimitConnections(listener, maxMetricsConnections))
	if !errors.Is(err, http.ErrServerClosed) {
		stop()
		return fmt.Errorf("--metrics-bind-address: %w", err)
	}
	if err := <-stopped; err != nil {
		return srv.Close()
	}
	return nil
}
