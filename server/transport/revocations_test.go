package transport

import (
	"crypto/tls"
	"encoding/pem"
	"os"
	"testing"

	"github.com/stele-db/stele/pkg/tls/tlstest"
)

// A resumed session carries the certificates of the first one and is checked against the list.
func TestRevocationCoversResumedSessions(t *testing.T) {
	ca := tlstest.New(t)
	alice := clientConfig(t, ca, "alice")
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

func TestRevocationListFormats(t *testing.T) {
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
