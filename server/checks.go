package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

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

func writeJSON(w io.Writer, v any) {
	// Plain structs of strings cannot fail to encode. A client that has disconnected needs no response.
	b, _ := json.Marshal(v)
	_, _ = w.Write(b)
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
