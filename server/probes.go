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
	member atomic.Pointer[member]
	reason atomic.Pointer[string]
}

// NewProbes returns probes of a server that is not ready yet.
func NewProbes() *Probes {
	p := &Probes{mux: http.NewServeMux()}
	p.Report("the database is being opened")
	p.mux.Handle("/health", getOnly(p.serveHealth))
	installChecks(p.mux, "/livez", []check{
		{name: "serializable_read", run: p.live},
	})
	installChecks(p.mux, "/readyz", []check{
		{name: "data_corruption", run: p.intact},
		{name: "serializable_read", run: p.serializableRead},
		{name: "linearizable_read", run: p.linearizableRead},
		{name: "non_learner", run: noCheck},
		{name: "database_writable", run: p.writable, quiet: true},
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

// serving makes the probes report on m, which is ready.
func (p *Probes) serving(m *member) { p.member.Store(m) }

// starting returns an error with the reason why the server is not ready yet.
func (p *Probes) starting() error { return errors.New(p.Reason()) }

// live fails only if the process has to be restarted.
func (p *Probes) live(ctx context.Context) error {
	if m := p.member.Load(); m != nil {
		return reason(m.serializableRead(ctx))
	}
	return nil
}

func (p *Probes) serializableRead(ctx context.Context) error {
	if m := p.member.Load(); m != nil {
		return reason(m.serializableRead(ctx))
	}
	return p.starting()
}

func (p *Probes) linearizableRead(ctx context.Context) error {
	if m := p.member.Load(); m != nil {
		return reason(m.linearizableRead(ctx))
	}
	return p.starting()
}

func (p *Probes) intact(ctx context.Context) error {
	if m := p.member.Load(); m != nil {
		return m.intact(ctx)
	}
	return nil
}

// writable fails while the database refuses writes. An etcd process exits in that case.
func (p *Probes) writable(context.Context) error {
	if m := p.member.Load(); m != nil {
		return m.store.Refused()
	}
	return nil
}

// serveHealth reports the outcome of a linearizable read, or of a serializable one with ?serializable=true. An active
// alarm that is not excluded by ?exclude=NAME takes precedence.
func (p *Probes) serveHealth(w http.ResponseWriter, r *http.Request) {
	health := struct {
		Health string `json:"health"`
		Reason string `json:"reason"`
	}{Health: "true"}
	if m := p.member.Load(); m != nil {
		health.Reason = m.unhealthy(r)
	} else {
		health.Reason = p.Reason()
	}
	if health.Reason != "" {
		health.Health = "false"
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	writeJSON(w, health)
}
