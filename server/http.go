package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/stele-db/stele/logstructured"
	"github.com/stele-db/stele/pkg/version"
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

func writeJSON(w io.Writer, v any) {
	// Plain structs of strings cannot fail to encode. A client that has disconnected needs no response.
	b, _ := json.Marshal(v)
	_, _ = w.Write(b)
}

// serializableRead reads one key from memory.
func (m *member) serializableRead(ctx context.Context) error {
	_, err := m.store.Range(ctx, logstructured.Unguarded, &logstructured.RangeRequest{
		KeyRange:     logstructured.KeyRange{Key: []byte{0}, End: []byte{0}},
		Limit:        1,
		KeysOnly:     true,
		Serializable: true,
	})
	return err
}

// linearizableRead returns nil if a linearizable read succeeds. It fails at once while the database is known to be
// unreachable.
func (m *member) linearizableRead(ctx context.Context) error {
	if m.store.Lost() {
		return logstructured.ErrUnavailable
	}
	return m.store.Ready(ctx)
}

// check is one of the checks behind /livez and /readyz.
type check struct {
	name string
	run  func(context.Context) error
	// quiet is set for checks that etcd does not have: they are reported only if they fail.
	quiet bool
}

// noCheck stands for a check of etcd's that cannot fail here.
func noCheck(context.Context) error { return nil }

// installChecks serves all checks at path, and each single one below it. ?exclude=name leaves one out, and ?verbose
// lists all outcomes even if all checks succeed.
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
		if c.quiet {
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
