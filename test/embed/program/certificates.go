package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"time"
)

// writeCertificates writes ca.crt, server.crt and server.key to the working directory. Like k3s's, the certificate has
// the name of the socket.
func writeCertificates() error {
	template := func(name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	ca := template("ca")
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	cert := template("server")
	cert.DNSNames, cert.ExtKeyUsage = []string{"localhost", "kine.sock"}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for file, parent := range map[string]*x509.Certificate{"ca.crt": ca, "server.crt": cert} {
		public := key.Public()
		if parent == ca {
			public = caKey.Public()
		}
		der, err := x509.CreateCertificate(rand.Reader, parent, ca, public, caKey)
		if err != nil {
			return err
		}
		if err := writePEM(file, "CERTIFICATE", der); err != nil {
			return err
		}
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM("server.key", "EC PRIVATE KEY", der)
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
