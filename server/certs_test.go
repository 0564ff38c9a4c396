package server

import (
	"crypto/tls"
	"math/big"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/pkg/tls/tlstest"
)

// serving loads a new server certificate with opts.
func serving(t testing.TB, ca *tlstest.Authority, opts CertificateOptions) *Certificates {
	t.Helper()
	cert := ca.Issue(t, "server")
	opts.Logger, opts.CertFile, opts.KeyFile = quiet(), cert.CertFile, cert.KeyFile
	certs, err := LoadCertificates(opts)
	if err != nil {
		t.Fatal(err)
	}
	return certs
}

// issued returns a client configuration with a new certificate.
func issued(t testing.TB, ca *tlstest.Authority, name string) *tls.Config {
	t.Helper()
	ca.Issue(t, name)
	return ca.Client(t, name)
}

func secure(cfg *tls.Config) grpc.DialOption {
	return grpc.WithTransportCredentials(credentials.NewTLS(cfg))
}

func TestClientCertificates(t *testing.T) {
	ca, stranger := tlstest.New(t), tlstest.New(t)
	certs := serving(t, ca, CertificateOptions{TrustedCAFile: ca.CAFile(), ClientCertAuth: true})
	r := serve(t, func(o *Options) { o.Listeners = []*Listener{listen(t, "https://127.0.0.1:0", certs)} })
	get := func(cfg *tls.Config) error {
		_, err := pb.NewKVClient(dial(t, r.addr().String(), secure(cfg))).Range(within(t), &pb.RangeRequest{Key: key})
		return err
	}
	if err := get(issued(t, ca, "alice")); err != nil {
		t.Errorf("with a certificate: %v", err)
	}
	if err := get(ca.Client(t, "")); status.Code(err) != codes.Unavailable {
		t.Errorf("without a certificate: %v", err)
	}
	other := issued(t, stranger, "mallory")
	other.RootCAs = ca.Client(t, "").RootCAs
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
	ca := tlstest.New(t)
	if got := serving(t, ca, CertificateOptions{TrustedCAFile: ca.CAFile()}).current().ClientAuth; got != tls.RequireAndVerifyClientCert {
		t.Errorf("client certificates: %v", got)
	}
	if got := serving(t, ca, CertificateOptions{}).current().ClientAuth; got != tls.NoClientCert {
		t.Errorf("client certificates: %v", got)
	}
}

// The handlers know the client's certificate.
func TestPeerHasItsCertificate(t *testing.T) {
	ca := tlstest.New(t)
	l := listen(t, "https://127.0.0.1:0", serving(t, ca, CertificateOptions{TrustedCAFile: ca.CAFile()}))
	d := newDispatcher(newWarner(quiet()), patience, 10, 10)
	go d.accept(l)
	seen := make(chan *peer.Peer, 1)
	s := grpc.NewServer(grpc.Creds(handshaken{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		p, _ := peer.FromContext(stream.Context())
		seen <- p
		return nil
	}))
	go func() { _ = s.Serve(d.queues.Load().grpc) }()
	t.Cleanup(func() {
		_ = l.Close()
		d.stop()
		s.Stop()
	})
	conn := dial(t, l.Addr().String(), secure(issued(t, ca, "alice")))
	_, _ = pb.NewKVClient(conn).Range(within(t), &pb.RangeRequest{Key: key})
	select {
	case p := <-seen:
		if state := peerState(p); state == nil || len(state.VerifiedChains) == 0 || state.VerifiedChains[0][0].Subject.CommonName != "alice" {
			t.Errorf("got %+v", p.AuthInfo)
		}
	case <-time.After(patience):
		t.Fatal("no request arrived")
	}
}

// New connections get the new certificate; a broken one is not used.
func TestCertificatesAreReadAgain(t *testing.T) {
	ca := tlstest.New(t)
	certs := serving(t, ca, CertificateOptions{CheckInterval: time.Millisecond})
	r := serve(t, func(o *Options) { o.Listeners = []*Listener{listen(t, "https://127.0.0.1:0", certs)} })
	serial := func() *big.Int {
		conn, err := tls.Dial("tcp", r.addr().String(), &tls.Config{RootCAs: ca.Client(t, "").RootCAs, NextProtos: []string{"h2"}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber
	}
	issue := func() *big.Int {
		cert := ca.Issue(t, "server")
		pair, err := tls.LoadX509KeyPair(cert.CertFile, cert.KeyFile)
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf.SerialNumber
	}
	renewed := issue()
	eventually(t, "the new certificate is used", func() bool { return serial().Cmp(renewed) == 0 })
	if err := os.WriteFile(ca.File("server.crt"), []byte("not a certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if got := serial(); got.Cmp(renewed) != 0 {
			t.Errorf("serial %d while the file is broken", got)
		}
	}
	repaired := issue()
	eventually(t, "the repaired certificate is used", func() bool { return serial().Cmp(repaired) == 0 })
}

func TestCertificateFilesThatCannotBeUsed(t *testing.T) {
	ca := tlstest.New(t)
	server, other := ca.Issue(t, "server"), ca.Issue(t, "other")
	certFile, keyFile := server.CertFile, server.KeyFile
	for name, opts := range map[string]CertificateOptions{
		"no key":          {CertFile: certFile},
		"no certificate":  {KeyFile: keyFile},
		"absent":          {CertFile: certFile + "x", KeyFile: keyFile},
		"of another key":  {CertFile: certFile, KeyFile: other.KeyFile},
		"no such CA":      {CertFile: certFile, KeyFile: keyFile, TrustedCAFile: "/absent"},
		"a CA that isn't": {CertFile: certFile, KeyFile: keyFile, TrustedCAFile: keyFile},
		"no such list":    {CertFile: certFile, KeyFile: keyFile, TrustedCAFile: ca.CAFile(), CRLFile: "/absent"},
		"unused list":     {CertFile: certFile, KeyFile: keyFile, CRLFile: ca.Revoke(t)},
	} {
		opts.Logger = quiet()
		if _, err := LoadCertificates(opts); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestUnreadableCertificatesAreLoggedOnceAMinute has a key that does not match, while connections arrive.
func TestUnreadableCertificatesAreLoggedOnceAMinute(t *testing.T) {
	ca := tlstest.New(t)
	cert := ca.Issue(t, "server")
	logger, hook := logtest.NewNullLogger()
	certs, err := LoadCertificates(CertificateOptions{
		Logger: logrus.NewEntry(logger), CertFile: cert.CertFile, KeyFile: cert.KeyFile, CheckInterval: time.Nanosecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(cert.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"no key", string(key), "no key again"} {
		if err := os.WriteFile(cert.KeyFile, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if certs.current() == nil {
				t.Fatal("no certificate is served")
			}
		}
	}
	var messages []string
	for _, e := range hook.AllEntries() {
		messages = append(messages, e.Level.String()+" "+e.Message)
	}
	const unreadable = "warning cannot read the changed certificate files; serving with the previous ones; correct the files"
	if want := []string{unreadable, "info read the changed certificate files", unreadable}; !slices.Equal(messages, want) {
		t.Errorf("logged %q, want %q", messages, want)
	}
}
