package kubernetes

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"os"
	"testing"

	"github.com/stele-db/stele/pkg/tls/tlstest"
)

// authority signs the certificates of one control plane.
type authority struct{ *tlstest.Authority }

// client issues a certificate for a user of Kubernetes and returns the path of a kubeconfig with it. The kubeconfig is
// for the API server at address. The files are NAME.crt, NAME.key and NAME.conf.
func (a authority) client(t testing.TB, name, address, user string, groups ...string) (kubeconfig string) {
	t.Helper()
	files := a.Sign(t, name, &x509.Certificate{
		Subject:     pkix.Name{CommonName: user, Organization: groups},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	kubeconfig = a.File(name + ".conf")
	write(t, kubeconfig, fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters: [{name: stele, cluster: {server: "https://%s", certificate-authority: %q}}]
users: [{name: %s, user: {client-certificate: %q, client-key: %q}}]
contexts: [{name: stele, context: {cluster: stele, user: %[3]s}}]
current-context: stele
`, address, files.CAFile, name, files.CertFile, files.KeyFile))
	return kubeconfig
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
