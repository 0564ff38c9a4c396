package server

import (
	"net/http"
	"slices"
)

// withCORS allows web pages of the given origins to read the responses of h, as etcd does: it adds the CORS headers and
// answers preflight requests. The origin "*" allows all. Without origins it returns h.
func withCORS(origins []string, h http.Handler) http.Handler {
	if len(origins) == 0 {
		return h
	}
	all := slices.Contains(origins, "*")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		switch {
		case all:
			allowOrigin(w.Header(), "*")
		case origin != "" && slices.Contains(origins, origin):
			allowOrigin(w.Header(), origin)
		}
		if !all {
			w.Header().Add("Vary", "Origin") // a cache must not serve this response to another origin
		}
		if r.Method == http.MethodOptions {
			return
		}
		h.ServeHTTP(w, r)
	})
}

func allowOrigin(header http.Header, origin string) {
	header.Set("Access-Control-Allow-Origin", origin)
	header.Set("Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE")
	header.Set("Access-Control-Allow-Headers", "accept, content-type, authorization")
}
