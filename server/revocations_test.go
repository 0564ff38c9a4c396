package server

import (
	"crypto/tls"
	"os"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/pkg/tls/tlstest"
	"github.com/stele-db/stele/server/transport"
)

// Revoked certificates are refused from the next handshake on, even if the client resumes a session.
func TestRevokedClientCertificatesAreRefused(t *testing.T) {
	ca := tlstest.New(t)
	alice, bob := clientConfig(t, ca, "alice"), clientConfig(t, ca, "bob")
	certs := serverCertificates(t, ca, transport.CertificateOptions{
		TrustedCAFile: ca.CAFile(), CRLFile: ca.Revoke(t, "bob"), CheckInterval: time.Millisecond,
	})
	r := serve(t, func(o *Options) { o.Listeners = []*transport.Listener{listen(t, "https://127.0.0.1:0", certs)} })
	get := func(cfg *tls.Config) error {
		_, err := pb.NewKVClient(dial(t, r.addr().String(), secure(cfg))).Range(within(t), &pb.RangeRequest{Key: key})
		return err
	}
	if err := get(alice); err != nil {
		t.Errorf("with a good certificate: %v", err)
	}
	if err := get(bob); status.Code(err) != codes.Unavailable {
		t.Errorf("with a revoked certificate: %v", err)
	}

	alice.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	if err := get(alice); err != nil {
		t.Errorf("before the revocation: %v", err)
	}
	ca.Revoke(t, "alice", "bob")
	eventually(t, "the new list is used", func() bool { return status.Code(get(alice)) == codes.Unavailable })

	// While the list cannot be read, the previous one applies.
	if err := os.WriteFile(ca.File("revoked.crl"), []byte("-----BEGIN X509 CRL-----\nhalf of it"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := get(alice); status.Code(err) != codes.Unavailable {
			t.Errorf("while the list is broken: %v", err)
		}
	}
	ca.Revoke(t, "bob")
	eventually(t, "the repaired list is used", func() bool { return get(alice) == nil })
}

// A handshake succeeds only with a version and a cipher suite that the client and the server both allow.
func TestVersionsAndCipherSuites(t *testing.T) {
	ca := tlstest.New(t)
	const gcm, chacha = tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
	for _, test := range []struct {
		opts     transport.CertificateOptions
		min, max uint16 // of the client
		suites   []uint16
		want     uint16 // 0 is a refusal
	}{
		{transport.CertificateOptions{}, tls.VersionTLS12, 0, nil, tls.VersionTLS13},
		{transport.CertificateOptions{}, tls.VersionTLS10, tls.VersionTLS11, nil, 0},
		{transport.CertificateOptions{MinVersion: tls.VersionTLS13}, 0, tls.VersionTLS12, nil, 0},
		{transport.CertificateOptions{MinVersion: tls.VersionTLS13}, 0, 0, nil, tls.VersionTLS13},
		{transport.CertificateOptions{MaxVersion: tls.VersionTLS12}, 0, 0, nil, tls.VersionTLS12},
		{transport.CertificateOptions{MaxVersion: tls.VersionTLS12}, tls.VersionTLS13, 0, nil, 0},
		{transport.CertificateOptions{CipherSuites: []uint16{gcm}}, 0, tls.VersionTLS12, []uint16{gcm},
			tls.VersionTLS12},
		{transport.CertificateOptions{CipherSuites: []uint16{gcm}}, 0, tls.VersionTLS12, []uint16{chacha}, 0},
	} {
		r := serve(t, func(o *Options) {
			o.Listeners = []*transport.Listener{listen(t, "https://127.0.0.1:0", serverCertificates(t, ca, test.opts))}
		})
		conn, err := tls.Dial("tcp", r.addr().String(), &tls.Config{
			RootCAs: ca.Client(t, "").RootCAs, NextProtos: []string{"h2"},
			MinVersion: test.min, MaxVersion: test.max, //nolint:gosec // the server must refuse old versions
			CipherSuites: test.suites,
		})
		if err != nil {
			if test.want != 0 {
				t.Errorf("%+v: %v", test, err)
			}
			continue
		}
		if got := conn.ConnectionState().Version; got != test.want {
			t.Errorf("%+v: version %x", test, got)
		}
		_ = conn.Close()
	}
}
