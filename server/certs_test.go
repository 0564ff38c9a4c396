package server

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
	"os"
	"path/filepath"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// authority makes certificates in a directory of its own.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	// caFile holds the authority's own certificate.
	caFile string
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.caFile = filepath.Join(a.dir, "ca.crt")
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	a.key = newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	writePEM(t, a.caFile, "CERTIFICATE", der)
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func writePEM(t testing.TB, name, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// issue writes a certificate for 127.0.0.1 and its key to name.crt and name.key.
func (a *authority) issue(t testing.TB, name string, serial int64) (certFile, keyFile string) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(a.dir, name+".crt"), filepath.Join(a.dir, name+".key")
	writePEM(t, certFile, "CERTIFICATE", der)
	writePEM(t, keyFile, "PRIVATE KEY", keyDER)
	return certFile, keyFile
}

// server loads a new server certificate with opts.
func (a *authority) server(t testing.TB, opts CertificateOptions) *Certificates {
	t.Helper()
	opts.Logger = quiet()
	opts.CertFile, opts.KeyFile = a.issue(t, "server", 2)
	certs, err := LoadCertificates(opts)
	if err != nil {
		t.Fatal(err)
	}
	return certs
}

// client returns a TLS configuration with a new client certificate.
func (a *authority) client(t testing.TB, name string) *tls.Config {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(a.issue(t, name, 3))
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{RootCAs: a.pool(), Certificates: []tls.Certificate{cert}}
}

func secure(cfg *tls.Config) grpc.DialOption {
	return grpc.WithTransportCredentials(credentials.NewTLS(cfg))
}

func TestClientCertificates(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	certs := ca.server(t, CertificateOptions{TrustedCAFile: ca.caFile, ClientCertAuth: true})
	r := serve(t, func(o *Options) { o.Listeners = []*Listener{listen(t, "https://127.0.0.1:0", certs)} })
	get := func(cfg *tls.Config) error {
		_, err := pb.NewKVClient(dial(t, r.addr().String(), secure(cfg))).Range(within(t), &pb.RangeRequest{Key: key})
		return err
	}
	if err := get(ca.client(t, "alice")); err != nil {
		t.Errorf("with a certificate: %v", err)
	}
	if err := get(&tls.Config{RootCAs: ca.pool()}); status.Code(err) != codes.Unavailable {
		t.Errorf("without a certificate: %v", err)
	}
	other := stranger.client(t, "mallory")
	other.RootCAs = ca.pool()
	if err := get(other); status.Code(err) != codes.Unavailable {
		t.Errorf("with another authority's certificate: %v", err)
	}
	_, err := pb.NewKVClient(r.dial(t)).Range(within(t), &pb.RangeRequest{Key: key})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("in plain text: %v", err)
	}
}

// Naming an authority is enough, as with etcd.
func TestTrustedAuthorityAsksForCertificates(t *testing.T) {
	ca := newAuthority(t)
	if got := ca.server(t, CertificateOptions{TrustedCAFile: ca.caFile}).current().ClientAuth; got != tls.RequireAndVerifyClientCert {
		t.Errorf("client certificates: %v", got)
	}
	if got := ca.server(t, CertificateOptions{}).current().ClientAuth; got != tls.NoClientCert {
		t.Errorf("client certificates: %v", got)
	}
}

// The handlers know the client's certificate.
func TestPeerHasItsCertificate(t *testing.T) {
	ca := newAuthority(t)
	l := listen(t, "https://127.0.0.1:0", ca.server(t, CertificateOptions{TrustedCAFile: ca.caFile}))
	d := newDispatcher(quiet(), patience, 10)
	go d.accept(l)
	seen := make(chan *peer.Peer, 1)
	s := grpc.NewServer(grpc.Creds(handshaken{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		p, _ := peer.FromContext(stream.Context())
		seen <- p
		return nil
	}))
	go func() { _ = s.Serve(d.grpc) }()
	t.Cleanup(func() {
		_ = l.Close()
		d.stop()
		s.Stop()
	})
	conn := dial(t, l.Addr().String(), secure(ca.client(t, "alice")))
	_, _ = pb.NewKVClient(conn).Range(within(t), &pb.RangeRequest{Key: key})
	select {
	case p := <-seen:
		info, ok := p.AuthInfo.(credentials.TLSInfo)
		if !ok || len(info.State.VerifiedChains) == 0 || info.State.VerifiedChains[0][0].Subject.CommonName != "alice" {
			t.Errorf("got %+v", p.AuthInfo)
		}
	case <-time.After(patience):
		t.Fatal("no request arrived")
	}
}

// New connections get the new certificate; a broken one is not used.
func TestCertificatesAreReadAgain(t *testing.T) {
	ca := newAuthority(t)
	certs := ca.server(t, CertificateOptions{CheckInterval: time.Millisecond})
	r := serve(t, func(o *Options) { o.Listeners = []*Listener{listen(t, "https://127.0.0.1:0", certs)} })
	serial := func() int64 {
		conn, err := tls.Dial("tcp", r.addr().String(), &tls.Config{RootCAs: ca.pool(), NextProtos: []string{"h2"}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if got := serial(); got != 2 {
		t.Fatalf("serial %d", got)
	}
	certFile, _ := ca.issue(t, "server", 77)
	eventually(t, "the new certificate is used", func() bool { return serial() == 77 })
	if err := os.WriteFile(certFile, []byte("not a certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if got := serial(); got != 77 {
			t.Errorf("serial %d while the file is broken", got)
		}
	}
	ca.issue(t, "server", 78)
	eventually(t, "the repaired certificate is used", func() bool { return serial() == 78 })
}

func TestCertificateFilesThatCannotBeUsed(t *testing.T) {
	ca := newAuthority(t)
	certFile, keyFile := ca.issue(t, "server", 2)
	_, otherKey := ca.issue(t, "other", 3)
	for name, opts := range map[string]CertificateOptions{
		"no key":          {CertFile: certFile},
		"no certificate":  {KeyFile: keyFile},
		"absent":          {CertFile: certFile + "x", KeyFile: keyFile},
		"of another key":  {CertFile: certFile, KeyFile: otherKey},
		"no such CA":      {CertFile: certFile, KeyFile: keyFile, TrustedCAFile: "/absent"},
		"a CA that isn't": {CertFile: certFile, KeyFile: keyFile, TrustedCAFile: keyFile},
	} {
		opts.Logger = quiet()
		if _, err := LoadCertificates(opts); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
