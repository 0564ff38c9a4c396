package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/credentials"
)

// authority signs certificates for a test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir(), pool: x509.NewCertPool()}
	a.cert, a.key = a.issue("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.pool.AddCert(a.cert)
	return a
}

// issue writes name.crt and name.key.
func (a *authority) issue(name string, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.Subject = pkix.Name{CommonName: name}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{
		a.file(name + ".crt"): {Type: "CERTIFICATE", Bytes: der},
		a.file(name + ".key"): {Type: "EC PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) server(name string) {
	a.t.Helper()
	a.issue(name, &x509.Certificate{
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	})
}

func (a *authority) client(name string) tls.Certificate {
	a.t.Helper()
	a.issue(name, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	pair, err := tls.LoadX509KeyPair(a.file(name+".crt"), a.file(name+".key"))
	if err != nil {
		a.t.Fatal(err)
	}
	return pair
}

// TLS may be served on any address without another flag, kine's unix sockets included.
func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	ca.server("server")
	sockets, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(sockets) })
	creds := credentials.NewTLS(&tls.Config{RootCAs: ca.pool, ServerName: "localhost"})
	for _, address := range []string{"0.0.0.0:0", "https://127.0.0.1:0", "http://127.0.0.1:0", "unix://" + sockets + "/s"} {
		p := launch(t, t.TempDir(), nil, "--listen-address="+address,
			"--server-cert-file="+ca.file("server.crt"), "--server-key-file="+ca.file("server.key"))
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
	ca, other := newAuthority(t), newAuthority(t)
	ca.server("server")
	mine, foreign := ca.client("client"), other.client("client")
	p := start(t, t.TempDir(), "--server-cert-file="+ca.file("server.crt"), "--server-key-file="+ca.file("server.key"),
		"--trusted-ca-file="+ca.file("ca.crt"), "--metrics-bind-address=127.0.0.1:0")
	if said := p.stdout.String(); !strings.Contains(said, "--cert=") {
		t.Errorf("says %s", said)
	}
	put(t, pb.NewKVClient(p.connect(credentials.NewTLS(&tls.Config{RootCAs: ca.pool, Certificates: []tls.Certificate{mine}}))), "k", "v")
	for who, certs := range map[string][]tls.Certificate{"none": nil, "another authority's": {foreign}} {
		kv := pb.NewKVClient(p.connect(credentials.NewTLS(&tls.Config{RootCAs: ca.pool, Certificates: certs})))
		if _, err := kv.Put(testContext(t), &pb.PutRequest{Key: []byte("k"), Value: []byte("x")}); err == nil {
			t.Errorf("a client with %s certificate was let in", who)
		}
	}

	// Metrics on their own port have the same certificate and ask for none.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.pool}}}
	t.Cleanup(client.CloseIdleConnections)
	if got := fetch(t, client, "https://"+metricsAddress(t, p)+"/metrics"); !strings.Contains(got, "go_goroutines") {
		t.Errorf("metrics: %.200s", got)
	}
}

func TestMetricsMayIgnoreTLS(t *testing.T) {
	ca := newAuthority(t)
	ca.server("server")
	p := start(t, t.TempDir(), "--server-cert-file="+ca.file("server.crt"), "--server-key-file="+ca.file("server.key"),
		"--metrics-bind-address=127.0.0.1:0", "--metrics-ignore-tls-config")
	if got := fetch(t, http.DefaultClient, "http://"+metricsAddress(t, p)+"/metrics"); !strings.Contains(got, "go_goroutines") {
		t.Errorf("metrics: %.200s", got)
	}
}

func TestProfilesAreServedOnlyWhenAskedFor(t *testing.T) {
	const path = "/debug/pprof/goroutine?debug=1"
	p := start(t, t.TempDir(), "--metrics-bind-address=127.0.0.1:0", "--metrics-enable-profiling")
	if got := fetch(t, http.DefaultClient, "http://"+metricsAddress(t, p)+path); !strings.Contains(got, "goroutine profile:") {
		t.Errorf("profile: %.200s", got)
	}
	p = start(t, t.TempDir(), "--metrics-bind-address=127.0.0.1:0")
	resp, err := http.Get("http://" + metricsAddress(t, p) + path) //nolint:noctx // bounded by the test's deadline
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("without the flag: %s", resp.Status)
	}
}

var metricsLine = regexp.MustCompile(`serving metrics.* address="?([0-9.:]+)`)

func metricsAddress(t *testing.T, p *program) string {
	t.Helper()
	p.await("address of the metrics", func() bool { return metricsLine.MatchString(p.stderr.String()) })
	return metricsLine.FindStringSubmatch(p.stderr.String())[1]
}
