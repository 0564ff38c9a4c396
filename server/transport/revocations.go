package transport

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
)

// revocations are the serial numbers of revoked certificates.
type revocations map[string]struct{}

// readRevocations reads a certificate revocation list (RFC 5280), or several in PEM form. As in etcd, neither the
// signature nor the validity period of a list is checked: the file is trusted, and an expired list still counts.
func readRevocations(file string) (revocations, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	revoked := make(revocations)
	if !bytes.Contains(data, []byte("-----BEGIN")) {
		if err := revoked.add(data); err != nil {
			return nil, fmt.Errorf("%s is neither a DER nor a PEM list of revoked certificates: %w", file, err)
		}
		return revoked, nil
	}
	for n := 0; ; n++ {
		block, rest := pem.Decode(data)
		if block == nil {
			if n == 0 || len(bytes.TrimSpace(data)) > 0 {
				return nil, fmt.Errorf("%s is not a complete PEM list of revoked certificates", file)
			}
			return revoked, nil
		}
		if block.Type != "X509 CRL" {
			return nil, fmt.Errorf("%s holds a PEM block %q where an \"X509 CRL\" is expected", file, block.Type)
		}
		if err := revoked.add(block.Bytes); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		data = rest
	}
}

func (r revocations) add(der []byte) error {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return err
	}
	for _, entry := range list.RevokedCertificateEntries {
		r[string(entry.SerialNumber.Bytes())] = struct{}{}
	}
	return nil
}

var errRevoked = errors.New("the client's certificate is revoked")

// verify refuses a connection if any certificate that the client sent is revoked. Unlike a check of the certificate
// message in the handshake, it also covers resumed sessions. As in etcd, only the serial number is compared, not the
// issuer.
func (r revocations) verify(state tls.ConnectionState) error {
	for _, cert := range state.PeerCertificates {
		if _, ok := r[string(cert.SerialNumber.Bytes())]; ok {
			return fmt.Errorf("%w: serial number %x, common name %q",
				errRevoked, cert.SerialNumber, cert.Subject.CommonName)
		}
	}
	return nil
}
