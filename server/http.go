package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/pkg/version"
)

// newHTTPHandler serves what etcd serves beside gRPC: /version, /health, /livez, /readyz and /metrics. gRPC requests of clients
// that also speak HTTP/1.1 go on to grpc, and JSON below /v3/ to gateway.
func newHTTPHandler(m *member, gatherer prometheus.Gatherer, grpc, gateway http.Handler, limits httpLimits) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/version", getOnly(m.serveVersion))
	mux.Handle("/health", getOnly(m.serveHealth))
	installChecks(mux, "/livez", []check{
		{"serializable_read", storeCheck(m.serializableRead)},
	})
	installChecks(mux, "/readyz", []check{
		{"data_corruption", m.intact},
		{"serializable_read", storeCheck(m.serializableRead)},
		{"linearizable_read", storeCheck(m.store.Ready)},
		{"non_learner", noCheck},
	})
	mux.Handle("/v3/", gateway)
	mux.Handle("/v3beta/", gateway)
	if gatherer != nil {
		mux.Handle("/metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{}))
	}
	limited := limits.handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
			grpc.ServeHTTP(w, r)
			return
		}
		limited.ServeHTTP(w, r)
	})
}

// getOnly refuses methods other than GET, HEAD among them, as etcd does.
func getOnly(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.Header().Set("Allow", http.MethodGet)
			http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
			return
		}
		serve(w, r)
	}
}

func (m *member) serveVersion(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	writeJSON(w, struct {
		Server  string `json:"etcdserver"`
		Cluster string `json:"etcdcluster"`
		Storage string `json:"storage"`
	}{version.Etcd, m.clusterVersion(), m.clusterVersion()})
}

// serveHealth answers with the outcome of a linearizable read, or with that of a serializable one if ?serializable=true; but an alarm that is raised, and not
// left out by ?exclude=NAME, comes first.
func (m *member) serveHealth(w http.ResponseWriter, r *http.Request) {
	health := struct {
		Health string `json:"health"`
		Reason string `json:"reason"`
	}{Health: "true"}
	read := m.store.Ready
	if r.URL.Query().Get("serializable") == "true" {
		read = m.serializableRead
	}
	if health.Reason = m.unhealthy(r.URL.Query()["exclude"]); health.Reason == "" {
		if err := read(r.Context()); err != nil {
			health.Reason = "RANGE ERROR:" + toStatus(err).Error()
		}
	}
	if health.Reason != "" {
		health.Health = "false"
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	writeJSON(w, health)
}

func writeJSON(w io.Writer, v any) {
	// Plain structs of strings cannot fail to encode, and a client that is gone needs no answer.
	b, _ := json.Marshal(v)
	_, _ = w.Write(b)
}

// serializableRead reads one key from memory.
func (m *member) serializableRead(ctx context.Context) error {
	_, err := m.store.Range(ctx, &logstructured.RangeRequest{
		KeyRange:     logstructured.KeyRange{Key: []byte{0}, End: []byte{0}},
		Limit:        1,
		KeysOnly:     true,
		Serializable: true,
	})
	return err
}

// check is one of the checks behind /livez and /readyz.
type check struct {
	name string
	run  func(context.Context) error
}

// noCheck stands for a check of etcd's that cannot fail here.
func noCheck(context.Context) error { return nil }

// storeCheck is a check that asks the store.
func storeCheck(ask func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error { return toStatus(ask(ctx)) }
}

// installChecks serves all checks at path, and each alone below it. ?exclude=name leaves one out, and ?verbose shows their
// outcome even if it is good.
func installChecks(mux *http.ServeMux, path string, checks []check) {
	mux.Handle(path, getOnly(func(w http.ResponseWriter, r *http.Request) {
		excluded := r.URL.Query()["exclude"]
		serveChecks(w, r, slices.DeleteFunc(slices.Clone(checks), func(c check) bool {
			return slices.Contains(excluded, c.name)
		}))
	}))
	for _, c := range checks {
		mux.Handle(path+"/"+c.name, getOnly(func(w http.ResponseWriter, r *http.Request) {
			serveChecks(w, r, []check{c})
		}))
	}
}

func serveChecks(w http.ResponseWriter, r *http.Request, checks []check) {
	var report strings.Builder
	failed := false
	for _, c := range checks {
		if err := c.run(r.Context()); err != nil {
			failed = true
			fmt.Fprintf(&report, "[-]%s failed: %v\n", c.name, err)
			continue
		}
		fmt.Fprintf(&report, "[+]%s ok\n", c.name)
	}
	if failed {
		http.Error(w, report.String(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.URL.Query().Has("verbose") {
		_, _ = io.WriteString(w, report.String())
	}
	_, _ = io.WriteString(w, "ok\n")
}
