package transport

import (
	"crypto/tls"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/stele-db/stele/pkg/tls/tlstest"
)

// As in etcd, setting a CA file makes client certificates compulsory.
func TestTrustedCARequiresClientCertificates(t *testing.T) {
	ca := tlstest.New(t)
	if got := serverCertificates(t, ca,
		CertificateOptions{TrustedCAFile: ca.CAFile()}).current().ClientAuth; got != tls.RequireAndVerifyClientCert {
		t.Errorf("client certificates: %v", got)
	}
	if got := serverCertificates(t, ca, CertificateOptions{}).current().ClientAuth; got != tls.NoClientCert {
		t.Errorf("client certificates: %v", got)
	}
}

func TestInvalidCertificateFilesAreRefused(t *testing.T) {
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

// TestUnreadableCertificatesAreLoggedOnceAMinute replaces the key by one that does not match while connections arrive.
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
	const unreadable = "warning cannot read the changed certificate files; " +
		"serving with the previous ones; correct the files"
	if want := []string{unreadable, "info read the changed certificate files", unreadable}; !slices.Equal(messages,
		want) {
		t.Errorf("logged %q, want %q", messages, want)
	}
}
