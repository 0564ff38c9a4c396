package server

import (
	"net/http"
	"strings"
	"testing"
)

// A browser's preflight request and the request after it get the headers for the listed origins only.
func TestCORS(t *testing.T) {
	const page, other = "https://page.example", "https://other.example"
	for _, test := range []struct {
		origins       []string
		origin, allow string
		preflight     bool // is answered
	}{
		{nil, page, "", false},
		{[]string{page}, page, page, true},
		{[]string{page}, other, "", true},
		{[]string{page}, "", "", true},
		{[]string{"*"}, other, "*", true},
		{[]string{"*"}, "", "*", true},
	} {
		r := serve(t, func(o *Options) { o.CORSOrigins = test.origins })
		for _, method := range []string{http.MethodOptions, http.MethodPost} {
			url, body := "http://"+r.addr().String()+"/v3/kv/range", strings.NewReader(`{"key":"YQ=="}`)
			req, err := http.NewRequestWithContext(within(t), method, url, body)
			if err != nil {
				t.Fatal(err)
			}
			if test.origin != "" {
				req.Header.Set("Origin", test.origin)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if got := resp.StatusCode == http.StatusOK; got != (test.preflight || method == http.MethodPost) {
				t.Errorf("%v, %s from %q: %s", test.origins, method, test.origin, resp.Status)
			}
			if got := resp.Header.Get("Access-Control-Allow-Origin"); got != test.allow {
				t.Errorf("%v, %s from %q: allows %q, want %q", test.origins, method, test.origin, got, test.allow)
			}
			if got := resp.Header.Get("Access-Control-Allow-Headers"); strings.Contains(got,
				"authorization") != (test.allow != "") {
				t.Errorf("%v, %s from %q: allows headers %q", test.origins, method, test.origin, got)
			}
		}
	}
}
