package server

import (
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/stele-db/stele/pkg/tls/tlstest"
	"github.com/stele-db/stele/server/transport"
)

// reply is the part of an HTTP response that tests compare.
type reply struct {
	status      int
	contentType string
	body        string
}

func request(t testing.TB, client *http.Client, method, url string) (*http.Response, reply) {
	t.Helper()
	req, err := http.NewRequestWithContext(within(t), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, reply{resp.StatusCode, resp.Header.Get("Content-Type"), string(body)}
}

func TestHTTPEndpoints(t *testing.T) {
	r := serve(t, nil)
	const text, json = "text/plain; charset=utf-8", "application/json"
	for path, want := range map[string]reply{
		"/version": {200, json,
			`{"etcdserver":"3.7.3","etcdcluster":"3.7.0","storage":"3.7.0","stele":"dev"}`},
		"/health":                   {200, text, `{"health":"true","reason":""}`},
		"/health?serializable=true": {200, text, `{"health":"true","reason":""}`},
		"/health?exclude=NOSPACE":   {200, text, `{"health":"true","reason":""}`},
		"/livez":                    {200, text, "ok\n"},
		"/livez?verbose":            {200, text, "[+]serializable_read ok\nok\n"},
		"/livez/serializable_read":  {200, text, "ok\n"},
		"/livez/linearizable_read":  {404, text, "404 page not found\n"},
		"/readyz":                   {200, text, "ok\n"},
		"/readyz?verbose": {200, text,
			"[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\nok\n"},
		"/readyz?verbose&exclude=non_learner": {200, text,
			"[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\nok\n"},
		"/readyz/linearizable_read?verbose": {200, text, "[+]linearizable_read ok\nok\n"},
		"/":                                 {404, text, "404 page not found\n"},
		"/v2/keys":                          {404, text, "404 page not found\n"},
	} {
		t.Run(path, func(t *testing.T) {
			if _, got := request(t, http.DefaultClient, http.MethodGet, r.opts.Listeners[0].URL()+path); got != want {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
	for _, path := range []string{"/version", "/health", "/livez", "/readyz", "/readyz/non_learner"} {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodHead} {
			resp, got := request(t, http.DefaultClient, method, r.opts.Listeners[0].URL()+path)
			if got.status != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET" {
				t.Errorf("%s %s: %+v, Allow %q", method, path, got, resp.Header.Get("Allow"))
			}
		}
	}
}

func TestMetrics(t *testing.T) {
	r := serve(t, nil)
	if _, err := pb.NewKVClient(r.dial(t)).Range(within(t), &pb.RangeRequest{Key: key}); err != nil {
		t.Fatal(err)
	}
	_, err := pb.NewKVClient(r.dial(t)).Range(within(t), &pb.RangeRequest{})
	if err == nil {
		t.Fatal("no key, no error")
	}
	for code, n := range map[string]string{"OK": "1", "InvalidArgument": "1"} {
		want := `grpc_server_handled_total{grpc_code="` + code +
			`",grpc_method="Range",grpc_service="etcdserverpb.KV",grpc_type="unary"} ` + n
		_, got := request(t, http.DefaultClient, http.MethodGet, r.opts.Listeners[0].URL()+"/metrics")
		if !strings.Contains(got.body, want+"\n") {
			t.Errorf("no line %s", want)
		}
	}
	r = serve(t, func(o *Options) { o.Registerer, o.Gatherer = nil, nil })
	if _, got := request(t, http.DefaultClient, http.MethodGet,
		r.opts.Listeners[0].URL()+"/metrics"); got.status != 404 {
		t.Errorf("metrics of no registry: %+v", got)
	}
}

// Two servers of one process may share a registry.
func TestServersShareRegistry(t *testing.T) {
	var first Options
	r := serve(t, func(o *Options) { first = *o })
	serveStore(t, r.store, func(o *Options) { o.Registerer, o.Gatherer = first.Registerer, first.Gatherer })
}

func TestHealthOfStoppedStore(t *testing.T) {
	store, stop := startStore(t)
	r := serveStore(t, store, nil)
	stop()
	url := r.opts.Listeners[0].URL()
	for _, path := range []string{"/health", "/readyz", "/readyz/linearizable_read"} {
		_, got := request(t, http.DefaultClient, http.MethodGet, url+path)
		if got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, "server stopped") {
			t.Errorf("%s: %+v", path, got)
		}
	}
	_, got := request(t, http.DefaultClient, http.MethodGet, url+"/health")
	if !strings.HasPrefix(got.body, `{"health":"false","reason":"RANGE ERROR:`) {
		t.Errorf("%+v", got)
	}
}

// HTTP clients that offer HTTP/2 and HTTP/1.1 reach the endpoints with either protocol. gRPC clients that also offer
// HTTP/1.1 are served, too.
func TestTLSClientsOfGRPCAndHTTP(t *testing.T) {
	ca := tlstest.New(t)
	r := serve(t, func(o *Options) {
		o.Listeners = []*transport.Listener{listen(t, "https://127.0.0.1:0",
			serverCertificates(t, ca, transport.CertificateOptions{}))}
	})
	url := r.opts.Listeners[0].URL()
	for name, c := range map[string]struct {
		protos []string
		major  int
	}{
		"both":     {[]string{"h2", "http/1.1"}, 2},
		"HTTP/1.1": {[]string{"http/1.1"}, 1},
		"no ALPN":  {nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			client := &http.Client{Transport: &http.Transport{
				TLSClientConfig:   &tls.Config{RootCAs: ca.Client(t, "").RootCAs, NextProtos: c.protos},
				ForceAttemptHTTP2: c.major == 2,
			}}
			defer client.CloseIdleConnections()
			resp, got := request(t, client, http.MethodGet, url+"/health")
			if got.status != 200 || resp.ProtoMajor != c.major {
				t.Errorf("HTTP/%d: %+v", resp.ProtoMajor, got)
			}
		})
	}
	for name, protos := range map[string][]string{"h2 alone": {"h2"}, "h2 and HTTP/1.1": {"h2", "http/1.1"}} {
		t.Run("gRPC, "+name, func(t *testing.T) {
			conn := dial(t, r.addr().String(),
				grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: ca.Client(t, "").RootCAs,
					NextProtos: protos})))
			if _, err := pb.NewKVClient(conn).Put(within(t),
				&pb.PutRequest{Key: key, Value: make([]byte, 100_000)}); err != nil {
				t.Fatal(err)
			}
			resp, err := pb.NewKVClient(conn).Range(within(t), &pb.RangeRequest{Key: key})
			if err != nil || len(resp.Kvs) != 1 {
				t.Errorf("%v, %v", resp, err)
			}
		})
	}
}
