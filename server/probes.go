package server

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
)

// Probes serves /livez, /readyz and /health, as etcd does. Until a server is ready, /livez succeeds, and the two others
// fail with the reason.
type Probes struct {
	mux    *http.ServeMux
	health atomic.Pointer[replicaHealth]
	reason atomic.Pointer[string]
}

// replicaHealth is what the probes report once the server is ready. An error is the reason why a probe fails.
type replicaHealth interface {
	serializableRead(context.Context) error
	linearizableRead(context.Context) error
	// intact fails if data are known to be corrupt.
	intact(context.Context) error
	// writable fails while the database refuses writes.
	writable(context.Context) error
	// unhealthy returns the reason why /health fails, and an empty string if it succeeds.
	unhealthy(*http.Request) string
}

// NewProbes returns probes of a server that is not ready yet.
func NewProbes() *Probes {
	p := &Probes{mux: http.NewServeMux()}
	p.Report("the database is being opened")
	p.mux.Handle("/health", getOnly(p.serveHealth))
	installChecks(p.mux, "/livez", []check{
		// It fails only if the process has to be restarted.
		{name: "serializable_read", run: p.ifReady(replicaHealth.serializableRead)},
	})
	installChecks(p.mux, "/readyz", []check{
		{name: "data_corruption", run: p.ifReady(replicaHealth.intact)},
		{name: "serializable_read", run: p.whenReady(replicaHealth.serializableRead)},
		{name: "linearizable_read", run: p.whenReady(replicaHealth.linearizableRead)},
		{name: "non_learner", run: noCheck},
		// An etcd process exits when it cannot write.
		{name: "database_writable", run: p.ifReady(replicaHealth.writable), quiet: true},
	})
	return p
}

// Report sets the reason why the server is not ready yet.
func (p *Probes) Report(reason string) { p.reason.Store(&reason) }

// Reason returns the reason why the server is not ready yet.
func (p *Probes) Reason() string { return *p.reason.Load() }

// Register serves the probes at their paths of mux.
func (p *Probes) Register(mux *http.ServeMux) {
	for _, path := range []string{"/health", "/livez", "/livez/", "/readyz", "/readyz/"} {
		mux.Handle(path, p.mux)
	}
}

// ready makes the probes report h from now on.
func (p *Probes) ready(h replicaHealth) { p.health.Store(&h) }

// ifReady returns a check that succeeds until the server is ready.
func (p *Probes) ifReady(run func(replicaHealth, context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if h := p.health.Load(); h != nil {
			return run(*h, ctx)
		}
		return nil
	}
}

// whenReady returns a check that fails until the server is ready.
func (p *Probes) whenReady(run func(replicaHealth, context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if h := p.health.Load(); h != nil {
			return run(*h, ctx)
		}
		return errors.New(p.Reason())
	}
}

// serveHealth reports the outcome of a linearizable read, or of a serializable one with ?serializable=true. An active
// alarm that is not excluded by ?exclude=NAME takes precedence.
func (p *Probes) serveHealth(w http.ResponseWriter, r *http.Request) {
	body := struct {
		Health string `json:"health"`
		Reason string `json:"reason"`
	}{Health: "true"}
	if h := p.health.Load(); h != nil {
		body.Reason = (*h).unhealthy(r)
	} else {
		body.Reason = p.Reason()
	}
	if body.Reason != "" {
		body.Health = "false"
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	writeJSON(w, body)
}
