// Package tlstest makes certificates for tests.
package tlstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	stdtls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stele-db/stele/pkg/tls"
)

// Authority signs certificates. Its certificate and all certificates that it signs are files in one directory, NAME.crt
// and NAME.key, which is removed when the test ends.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// New creates an authority.
func New(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{dir: t.TempDir()}
	a.cert, a.key = a.sign(t, "ca", &x509.Certificate{
		Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	})
	return a
}

// CAFile returns the path of the authority's certificate.
func (a *Authority) CAFile() string { return a.File("ca.crt") }

// File returns the path of a file of the authority.
func (a *Authority) File(name string) string { return filepath.Join(a.dir, name) }

// Issue creates a certificate for 127.0.0.1, localhost and the names, valid for servers and clients. The first name is
// its common name and the name of its files. Issue returns the files with the authority as CAFile. A second certificate
// of the same name replaces the files.
func (a *Authority) Issue(t testing.TB, names ...string) tls.Config {
	t.Helper()
	return a.Sign(t, names[0], &x509.Certificate{
		Subject:     pkix.Name{CommonName: names[0]},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: append([]string{"localhost"}, names...),
	})
}

// Sign is Issue with the certificate's content from a template. Serial number and validity are filled in.
func (a *Authority) Sign(t testing.TB, name string, template *x509.Certificate) tls.Config {
	t.Helper()
	a.sign(t, name, template)
	return tls.Config{CAFile: a.CAFile(), CertFile: a.File(name + ".crt"), KeyFile: a.File(name + ".key")}
}

// Revoke writes a PEM list that revokes the certificates of the given names, and returns its path. A second list
// replaces the first one.
func (a *Authority) Revoke(t testing.TB, names ...string) string {
	t.Helper()
	list := &x509.RevocationList{
		Number:     big.NewInt(time.Now().UnixNano()),
		ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour),
	}
	for _, name := range names {
		pair, err := stdtls.LoadX509KeyPair(a.File(name+".crt"), a.File(name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: pair.Leaf.SerialNumber, RevocationTime: time.Now(),
		})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.cert, a.key)
	if err != nil {
		t.Fatal(err)
	}
	file := a.File("revoked.crl")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Client returns the configuration of a client that trusts the servers of the authority. The client has the certificate
// of the given name, or none if name is empty.
func (a *Authority) Client(t testing.TB, name string) *stdtls.Config {
	t.Helper()
	files := tls.Config{CAFile: a.CAFile()}
	if name != "" {
		files.CertFile, files.KeyFile = a.File(name+".crt"), a.File(name+".key")
	}
	config, err := files.ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// sign writes a certificate and its key. The first certificate is self-signed.
func (a *Authority) sign(t testing.TB, name string, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".crt": {Type: "CERTIFICATE", Bytes: der},
		name + ".key": {Type: "EC PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(a.File(file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}
