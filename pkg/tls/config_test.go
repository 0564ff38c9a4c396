package tls_test

import (
	cryptotls "crypto/tls"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stele-db/stele/pkg/tls"
	"github.com/stele-db/stele/pkg/tls/tlstest"
)

// handshake connects client to server and returns the client's error.
func handshake(t *testing.T, server, client *cryptotls.Config) error {
	t.Helper()
	l, err := cryptotls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if _, err := io.ReadFull(conn, make([]byte, 1)); err == nil {
			_, _ = conn.Write([]byte{1})
		}
	}()
	conn, err := cryptotls.Dial("tcp", l.Addr().String(), client)
	if err != nil {
		return err
	}
	defer conn.Close()
	// The client learns with the first response whether the server accepted its certificate.
	if _, err := conn.Write([]byte{0}); err != nil {
		return err
	}
	_, err = io.ReadFull(conn, make([]byte, 1))
	return err
}

func configs(t *testing.T, server, client tls.Config) (*cryptotls.Config, *cryptotls.Config) {
	t.Helper()
	s, err := server.ServerConfig()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

func TestHandshakes(t *testing.T) {
	ca, other := tlstest.New(t), tlstest.New(t)
	server, mine, foreign := ca.Issue(t, "server"), ca.Issue(t, "mine"), other.Issue(t, "foreign")
	mutual := server
	mutual.TrustedCAFile = ca.CAFile()
	for name, test := range map[string]struct {
		server, client tls.Config
		good           bool
	}{
		"authority":             {server, tls.Config{CAFile: ca.CAFile()}, true},
		"another authority":     {server, tls.Config{CAFile: other.CAFile()}, false},
		"no verification":       {server, tls.Config{SkipVerify: true}, true},
		"client certificate":    {mutual, mine, true},
		"no client certificate": {mutual, tls.Config{CAFile: ca.CAFile()}, false},
		"another's certificate": {mutual,
			tls.Config{CAFile: ca.CAFile(), CertFile: foreign.CertFile, KeyFile: foreign.KeyFile}, false},
	} {
		s, c := configs(t, test.server, test.client)
		if err := handshake(t, s, c); (err == nil) != test.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Replaced files are used for the next connection.
func TestRenewal(t *testing.T) {
	old, next := tlstest.New(t), tlstest.New(t)
	files := old.Issue(t, "server")
	s, c := configs(t, files, tls.Config{CAFile: next.CAFile()})
	if err := handshake(t, s, c); err == nil {
		t.Fatal("the old certificate passes")
	}
	renewed := next.Issue(t, "server")
	for from, to := range map[string]string{renewed.CertFile: files.CertFile, renewed.KeyFile: files.KeyFile} {
		content, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := handshake(t, s, c); err != nil {
		t.Errorf("the new certificate: %v", err)
	}
}

func TestNothingNamedIsNoTLS(t *testing.T) {
	s, c := configs(t, tls.Config{CAFile: "not for servers"}, tls.Config{TrustedCAFile: "not for clients"})
	if s != nil || c != nil {
		t.Errorf("%v, %v", s, c)
	}
}

func TestFilesThatCannotBeUsed(t *testing.T) {
	cert := tlstest.New(t).Issue(t, "server")
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]tls.Config{
		"nowhere":       {CAFile: "nowhere", CertFile: "nowhere", KeyFile: "nowhere"},
		"empty":         {CAFile: empty, CertFile: cert.CertFile, KeyFile: cert.KeyFile, TrustedCAFile: empty},
		"go together":   {CertFile: cert.CertFile},
		cert.CAFile:     {CertFile: cert.CAFile, KeyFile: cert.KeyFile},
		"certificate i": {CAFile: empty, CertFile: cert.CertFile, KeyFile: cert.KeyFile, TrustedCAFile: empty},
	} {
		if _, err := config.ClientConfig(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: client: %v", name, err)
		}
		if _, err := config.ServerConfig(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: server: %v", name, err)
		}
	}
}
