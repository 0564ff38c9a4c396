package client

import (
	cryptotls "crypto/tls"
	"testing"
)

func TestAddress(t *testing.T) {
	for endpoint, want := range map[string][2]string{
		"http://10.0.0.1:2379":           {"10.0.0.1:2379", "10.0.0.1:2379"},
		"https://etcd.example:2379":      {"etcd.example:2379", "etcd.example:2379"},
		"https://etcd.example:2379/":     {"etcd.example:2379", "etcd.example:2379"},
		"10.0.0.1:2379":                  {"10.0.0.1:2379", "10.0.0.1:2379"},
		"tcp://10.0.0.1:2379":            {"10.0.0.1:2379", "10.0.0.1:2379"},
		"unix://kine.sock":               {"unix:kine.sock", "kine.sock"},
		"unixs://kine.sock":              {"unix:kine.sock", "kine.sock"},
		"unix:///run/stele/kine.sock":    {"unix:/run/stele/kine.sock", "kine.sock"},
		"unix:/run/stele/kine.sock":      {"unix:/run/stele/kine.sock", "kine.sock"},
		"unixs:///run/stele/datastore.s": {"unix:/run/stele/datastore.s", "datastore.s"},
		"unix://@abstract":               {"unix:@abstract", "@abstract"},
		"":                               {},
		"unix://":                        {},
		"http://":                        {},
		"http://a:b:c":                   {},
	} {
		if addr, name := address(endpoint); addr != want[0] || name != want[1] {
			t.Errorf("%q: %q with the name %q, want %q", endpoint, addr, name, want)
		}
	}
}

func TestTransport(t *testing.T) {
	config := &cryptotls.Config{MinVersion: cryptotls.VersionTLS12}
	for endpoint, want := range map[string][2]string{ // without and with files
		"http://a:1":  {"insecure", "insecure"},
		"https://a:1": {"tls", "tls"},
		"unixs://a":   {"tls", "tls"},
		"unix://a":    {"insecure", "tls"},
		"a:1":         {"insecure", "tls"},
		"tcp://a:1":   {"insecure", "tls"},
	} {
		without, with := transport(endpoint, nil).Info().SecurityProtocol, transport(endpoint,
			config).Info().SecurityProtocol
		if without != want[0] || with != want[1] {
			t.Errorf("%s: %s without files and %s with them, want %q", endpoint, without, with, want)
		}
	}
}
