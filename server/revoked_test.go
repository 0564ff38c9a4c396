package server

import (
	"crypto/tls"
	"encoding/pem"
	"os"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/stele-db/stele/pkg/tls/tlstest"
)

// Revoked certificates are refused from the next handshake on, also where the client resumes a session.
func TestRevokedClientCertificates(t *testing.T) {
	ca := tlstest.New(t)
	alice, bob := issued(t, ca, "alice"), issued(t, ca, "bob")
	certs := serving(t, ca, CertificateOptions{
		TrustedCAFile: ca.CAFile(), CRLFile: ca.Revoke(t, "bob"), CheckInterval: time.Millisecond,
	})
	r := serve(t, func(o *Options) { o.Listeners = []*Listener{listen(t, "https://127.0.0.1:0", certs)} })
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

	// A list that cannot be read revokes what the last good one did.
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

// A resumed session carries the certificates of the first one and is checked against the list.
func TestRevocationCoversResumedSessions(t *testing.T) {
	ca := tlstest.New(t)
	alice := issued(t, ca, "alice")
	list, err := readRevocations(ca.Revoke(t, "alice"))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := alice.GetClientCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	state := tls.ConnectionState{DidResume: true}
	if err := list.verify(state); err != nil {
		t.Errorf("without a certificate: %v", err)
	}
	state.PeerCertificates = append(state.PeerCertificates, cert.Leaf)
	if err := list.verify(state); err == nil {
		t.Error("a resumed session of a revoked certificate is accepted")
	}
}

func TestRevocationListForms(t *testing.T) {
	ca := tlstest.New(t)
	ca.Issue(t, "alice")
	ca.Issue(t, "bob")
	one, err := os.ReadFile(ca.Revoke(t, "alice"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(ca.Revoke(t, "bob"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(one)
	authority, err := os.ReadFile(ca.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		data    []byte
		revoked int // -1 is an error
	}{
		"DER":               {block.Bytes, 1},
		"PEM":               {one, 1},
		"two in PEM":        {append(append([]byte{}, one...), other...), 2},
		"empty":             {nil, -1},
		"text":              {[]byte("none"), -1},
		"cut off":           {one[:len(one)/2], -1},
		"second is cut off": {append(append([]byte{}, one...), other[:len(other)/2]...), -1},
		"a certificate":     {authority, -1},
	} {
		file := ca.File("list")
		if err := os.WriteFile(file, test.data, 0o600); err != nil {
			t.Fatal(err)
		}
		list, err := readRevocations(file)
		if (err != nil) != (test.revoked < 0) || err == nil && len(list) != test.revoked {
			t.Errorf("%s: %d revoked, %v", name, len(list), err)
		}
	}
}

// The client and the server agree on a version and a cipher suite of both, or on none.
func TestVersionsAndCipherSuites(t *testing.T) {
	ca := tlstest.New(t)
	const gcm, chacha = tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
	for _, test := range []struct {
		opts     CertificateOptions
		min, max uint16 // of the client
		suites   []uint16
		want     uint16 // 0 is a refusal
	}{
		{CertificateOptions{}, tls.VersionTLS12, 0, nil, tls.VersionTLS13},
		{CertificateOptions{}, tls.VersionTLS10, tls.VersionTLS11, nil, 0},
		{CertificateOptions{MinVersion: tls.VersionTLS13}, 0, tls.VersionTLS12, nil, 0},
		{CertificateOptions{MinVersion: tls.VersionTLS13}, 0, 0, nil, tls.VersionTLS13},
		{CertificateOptions{MaxVersion: tls.VersionTLS12}, 0, 0, nil, tls.VersionTLS12},
		{CertificateOptions{MaxVersion: tls.VersionTLS12}, tls.VersionTLS13, 0, nil, 0},
		{CertificateOptions{CipherSuites: []uint16{gcm}}, 0, tls.VersionTLS12, []uint16{gcm}, tls.VersionTLS12},
		{CertificateOptions{CipherSuites: []uint16{gcm}}, 0, tls.VersionTLS12, []uint16{chacha}, 0},
	} {
		r := serve(t, func(o *Options) {
			o.Listeners = []*Listener{listen(t, "https://127.0.0.1:0", serving(t, ca, test.opts))}
		})
		conn, err := tls.Dial("tcp", r.addr().String(), &tls.Config{
			RootCAs: ca.Client(t, "").RootCAs, NextProtos: []string{"h2"},
			MinVersion: test.min, MaxVersion: test.max, CipherSuites: test.suites, //nolint:gosec // what the server refuses
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
