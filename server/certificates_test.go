package server

import (
	"crypto/tls"
	"math/big"
	"os"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/pkg/tls/tlstest"
	"github.com/stele-db/stele/server/transport"
)

// serverCertificates loads a new server certificate with opts.
func serverCertificates(t testing.TB, ca *tlstest.Authority,
	opts transport.CertificateOptions) *transport.Certificates {
	t.Helper()
	cert := ca.Issue(t, "server")
	opts.Logger, opts.CertFile, opts.KeyFile = quiet(), cert.CertFile, cert.KeyFile
	certs, err := transport.LoadCertificates(opts)
	if err != nil {
		t.Fatal(err)
	}
	return certs
}

// clientConfig returns a client configuration with a new certificate.
func clientConfig(t testing.TB, ca *tlstest.Authority, name string) *tls.Config {
	t.Helper()
	ca.Issue(t, name)
	return ca.Client(t, name)
}

func secure(cfg *tls.Config) grpc.DialOption {
	return grpc.WithTransportCredentials(credentials.NewTLS(cfg))
}

func TestClientCertificates(t *testing.T) {
	ca, stranger := tlstest.New(t), tlstest.New(t)
	certs := serverCertificates(t, ca, transport.CertificateOptions{TrustedCAFile: ca.CAFile(), ClientCertAuth: true})
	r := serve(t, func(o *Options) { o.Listeners = []*transport.Listener{listen(t, "https://127.0.0.1:0", certs)} })
	get := func(cfg *tls.Config) error {
		_, err := pb.NewKVClient(dial(t, r.addr().String(), secure(cfg))).Range(within(t), &pb.RangeRequest{Key: key})
		return err
	}
	if err := get(clientConfig(t, ca, "alice")); err != nil {
		t.Errorf("with a certificate: %v", err)
	}
	if err := get(ca.Client(t, "")); status.Code(err) != codes.Unavailable {
		t.Errorf("without a certificate: %v", err)
	}
	other := clientConfig(t, stranger, "mallory")
	other.RootCAs = ca.Client(t, "").RootCAs
	if err := get(other); status.Code(err) != codes.Unavailable {
		t.Errorf("with another authority's certificate: %v", err)
	}
	_, err := pb.NewKVClient(r.dial(t)).Range(within(t), &pb.RangeRequest{Key: key})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("in plain text: %v", err)
	}
}

// New connections get the new certificate. A malformed one is not used.
func TestChangedCertificatesAreReloaded(t *testing.T) {
	ca := tlstest.New(t)
	certs := serverCertificates(t, ca, transport.CertificateOptions{CheckInterval: time.Millisecond})
	r := serve(t, func(o *Options) { o.Listeners = []*transport.Listener{listen(t, "https://127.0.0.1:0", certs)} })
	serial := func() *big.Int {
		conn, err := tls.Dial("tcp", r.addr().String(),
			&tls.Config{RootCAs: ca.Client(t, "").RootCAs, NextProtos: []string{"h2"}})
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
