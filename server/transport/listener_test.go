package transport

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stele-db/stele/pkg/tls/tlstest"
)

func TestListenAddresses(t *testing.T) {
	ca := tlstest.New(t)
	certs := serverCertificates(t, ca, CertificateOptions{})
	dir := t.TempDir()
	for _, c := range []struct {
		address string
		certs   *Certificates
		prefix  string
		secure  bool
	}{
		{"127.0.0.1:0", nil, "http://127.0.0.1:", false},
		{"127.0.0.1:0", certs, "https://127.0.0.1:", true},
		{"tcp://127.0.0.1:0", nil, "http://127.0.0.1:", false},
		{"tcp://127.0.0.1:0", certs, "https://127.0.0.1:", true},
		{"http://127.0.0.1:0", certs, "http://127.0.0.1:", false},
		{"http://127.0.0.1:0/", nil, "http://127.0.0.1:", false},
		{"https://127.0.0.1:0", certs, "https://127.0.0.1:", true},
		{"unix://" + dir + "/a.sock", certs, "unix://" + dir + "/a.sock", false},
		{"unixs://" + dir + "/b.sock", certs, "unixs://" + dir + "/b.sock", true},
		{"unix://@stele-test-" + filepath.Base(dir), nil, "unix://@stele-test-", false},
	} {
		l := listen(t, c.address, c.certs)
		if !strings.HasPrefix(l.URL(), c.prefix) || strings.HasSuffix(l.URL(), ":0") || l.Secure() != c.secure {
			t.Errorf("%s: %s, secure %v", c.address, l.URL(), l.Secure())
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestInvalidAddressesAreRefused(t *testing.T) {
	taken := listen(t, "127.0.0.1:0", nil)
	defer taken.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	served := listen(t, "unix://"+dir+"/served", nil)
	defer served.Close()
	for address, want := range map[string]string{
		taken.Addr().String():       "address already in use",
		"https://127.0.0.1:0":       "needs a certificate",
		"unixs://" + dir + "/x":     "needs a certificate",
		"ftp://127.0.0.1:0":         "the scheme must be",
		"http://":                   "no address",
		"unix://":                   "no address",
		"http://127.0.0.1":          "missing port",
		"unix://" + file:            "not a socket",
		"unix://" + dir + "/served": "address already in use",
		"unix:///no/such/directory": "no such file",
	} {
		l, err := Listen(t.Context(), address, nil)
		if err == nil {
			_ = l.Close()
			t.Errorf("%s: accepted", address)
			continue
		}
		if !strings.Contains(err.Error(), want) || strings.Count(err.Error(), address) != 1 {
			t.Errorf("%s: %v", address, err)
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
		t.Errorf("the file was touched: %q, %v", b, err)
	}
}
