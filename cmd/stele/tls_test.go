package main

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/credentials"

	"github.com/stele-db/stele/pkg/tls/tlstest"
)

// TLS may be served on any address without another flag, including the unix sockets of kine.
func TestTLS(t *testing.T) {
	ca := tlstest.New(t)
	serving := ca.Issue(t, "server")
	sockets, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(sockets) })
	trusting := ca.Client(t, "")
	trusting.ServerName = "localhost"
	creds := credentials.NewTLS(trusting)
	for _, address := range []string{"0.0.0.0:0", "https://127.0.0.1:0", "http://127.0.0.1:0",
		"unix://" + sockets + "/s"} {
		p := launch(t, t.TempDir(), nil, "--listen-address="+address,
			"--server-cert-file="+serving.CertFile, "--server-key-file="+serving.KeyFile)
		if url := p.url(); !strings.HasPrefix(url, "https://127.0.0.1:") && !strings.HasPrefix(url, "unixs://") {
			t.Errorf("%s: served on %s", address, url)
		}
		if said := p.stdout.String(); !strings.Contains(said, "--cacert") || strings.Contains(said, "--cert=") {
			t.Errorf("%s: says %s", address, said)
		}
		kv := pb.NewKVClient(p.connect(creds))
		put(t, kv, "k", "v")
		p.stop()
	}
}

func TestClientCertificates(t *testing.T) {
	ca, other := tlstest.New(t), tlstest.New(t)
	serving := ca.Issue(t, "server")
	ca.Issue(t, "client")
	other.Issue(t, "client")
	none, foreign := ca.Client(t, ""), other.Client(t, "client")
	foreign.RootCAs = none.RootCAs
	p := start(t, t.TempDir(), "--server-cert-file="+serving.CertFile, "--server-key-file="+serving.KeyFile,
		"--trusted-ca-file="+serving.CAFile, "--metrics-bind-address=127.0.0.1:0")
	if said := p.stdout.String(); !strings.Contains(said, "--cert=") {
		t.Errorf("says %s", said)
	}
	put(t, pb.NewKVClient(p.connect(credentials.NewTLS(ca.Client(t, "client")))), "k", "v")
	for who, client := range map[string]*tls.Config{"no": none, "another authority's": foreign} {
		kv := pb.NewKVClient(p.connect(credentials.NewTLS(client)))
		if _, err := kv.Put(testContext(t), &pb.PutRequest{Key: []byte("k"), Value: []byte("x")}); err == nil {
			t.Errorf("a client with %s certificate was let in", who)
		}
	}

	// The metrics port has the same certificate, and requires no client certificate.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: none}}
	t.Cleanup(client.CloseIdleConnections)
	if got := fetch(t, client, "https://"+metricsAddress(t, p)+"/metrics"); !strings.Contains(got, "go_goroutines") {
		t.Errorf("metrics: %.200s", got)
	}
}

// The etcd flags that restrict connections reach the listeners.
func TestRevocationAndVersionFlags(t *testing.T) {
	ca := tlstest.New(t)
	serving := ca.Issue(t, "server")
	ca.Issue(t, "client")
	ca.Issue(t, "revoked")
	p := start(t, t.TempDir(), "--server-cert-file="+serving.CertFile, "--server-key-file="+serving.KeyFile,
		"--trusted-ca-file="+serving.CAFile, "--client-crl-file="+ca.Revoke(t, "revoked"), "--tls-max-version=TLS1.2",
		"--cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "--metrics-bind-address=127.0.0.1:0")
	put(t, pb.NewKVClient(p.connect(credentials.NewTLS(ca.Client(t, "client")))), "k", "v")
	revoked := pb.NewKVClient(p.connect(credentials.NewTLS(ca.Client(t, "revoked"))))
	if _, err := revoked.Put(testContext(t), &pb.PutRequest{Key: []byte("k"), Value: []byte("x")}); err == nil {
		t.Error("a revoked certificate was let in")
	}
	for _, address := range []string{strings.TrimPrefix(p.url(), "https://"), metricsAddress(t, p)} {
		conn, err := tls.Dial("tcp", address, ca.Client(t, "client"))
		if err != nil {
			t.Fatal(err)
		}
		state := conn.ConnectionState()
		_ = conn.Close()
		if state.Version != tls.VersionTLS12 || state.CipherSuite != tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 {
			t.Errorf("%s: %s, %s", address, tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite))
		}
	}
}

func TestMetricsMayIgnoreTLS(t *testing.T) {
	serving := tlstest.New(t).Issue(t, "server")
	p := start(t, t.TempDir(), "--server-cert-file="+serving.CertFile, "--server-key-file="+serving.KeyFile,
		"--metrics-bind-address=127.0.0.1:0", "--metrics-ignore-tls-config")
	got := fetch(t, http.DefaultClient, "http://"+metricsAddress(t, p)+"/metrics")
	if !strings.Contains(got, "go_goroutines") {
		t.Errorf("metrics: %.200s", got)
	}
}

func TestProfilesAreServedOnlyWhenAskedFor(t *testing.T) {
	const path = "/debug/pprof/goroutine?debug=1"
	p := start(t, t.TempDir(), "--metrics-bind-address=127.0.0.1:0", "--metrics-enable-profiling")
	got := fetch(t, http.DefaultClient, "http://"+metricsAddress(t, p)+path)
	if !strings.Contains(got, "goroutine profile:") {
		t.Errorf("profile: %.200s", got)
	}
	var vars struct{ Memstats struct{ Mallocs int64 } }
	shown := fetch(t, http.DefaultClient, "http://"+metricsAddress(t, p)+"/debug/vars")
	if err := json.Unmarshal([]byte(shown), &vars); err != nil || vars.Memstats.Mallocs == 0 ||
		strings.Contains(shown, "cmdline") {
		t.Errorf("variables: %v, %.200s", err, shown)
	}
	p = start(t, t.TempDir(), "--metrics-bind-address=127.0.0.1:0")
	for _, path := range []string{path, "/debug/vars"} {
		resp, err := http.Get("http://" + metricsAddress(t, p) + path) //nolint:noctx // bounded by the test's deadline
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s without the flag: %s", path, resp.Status)
		}
	}
}

var metricsLine = regexp.MustCompile(`serving metrics.* address="?([0-9.:]+)`)

func metricsAddress(t *testing.T, p *program) string {
	t.Helper()
	p.await("address of the metrics", func() bool { return metricsLine.MatchString(p.stderr.String()) })
	return metricsLine.FindStringSubmatch(p.stderr.String())[1]
}
