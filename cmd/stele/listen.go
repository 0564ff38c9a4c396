package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/stele-db/stele/pkg/endpoint"
	"github.com/stele-db/stele/server/transport"
)

// certificates reads the files of the TLS flags. It returns nil, for plain text, if the flags are not set.
func (c *config) certificates(logger *logrus.Entry) (*transport.Certificates, error) {
	if c.serverCertFile == "" {
		return nil, nil
	}
	suites, err := c.tls.suites()
	if err != nil {
		return nil, err
	}
	lowest, highest := c.tls.versions()
	certs, err := transport.LoadCertificates(transport.CertificateOptions{
		Logger: logger, CertFile: c.serverCertFile, KeyFile: c.serverKeyFile,
		TrustedCAFile: c.trustedCAFile, ClientCertAuth: c.clientCertAuth, CRLFile: c.tls.clientCRL,
		MinVersion: lowest, MaxVersion: highest, CipherSuites: suites,
	})
	if err != nil {
		return nil, fmt.Errorf("--server-cert-file, --server-key-file, --trusted-ca-file, --client-crl-file: %w; "+
			"name readable PEM files that belong together", err)
	}
	return certs, nil
}

// listen binds the address of the client port.
func (c *config) listen(ctx context.Context, certs *transport.Certificates) (*transport.Listener, error) {
	address := c.listenAddress
	if certs != nil {
		address = endpoint.WithTLS(address)
	}
	if certs == nil && (strings.HasPrefix(address, "https://") || strings.HasPrefix(address, "unixs://")) {
		return nil, fmt.Errorf("--listen-address: %s needs a certificate; set --server-cert-file and --server-key-file",
			address)
	}
	if certs == nil && !c.insecureListen && !local(ctx, address) {
		return nil, fmt.Errorf("--listen-address: %s can be reached by other machines and would be served in plain "+
			"text; set --server-cert-file and --server-key-file, or accept that with --insecure-listen", address)
	}
	l, err := transport.Listen(ctx, address, certs)
	if err != nil {
		return nil, fmt.Errorf("--listen-address: %w; "+
			"name a free address of this machine, such as 127.0.0.1:12379 or unix://stele.sock", err)
	}
	return l, nil
}

// local reports whether only this machine can connect to address. It accepts an invalid address, which
// [transport.Listen] rejects.
func local(ctx context.Context, address string) bool {
	scheme, rest, found := strings.Cut(address, "://")
	if !found {
		scheme, rest = "tcp", address
	}
	if scheme != "tcp" && scheme != "http" {
		return true
	}
	host, _, err := net.SplitHostPort(strings.TrimSuffix(rest, "/"))
	if err != nil {
		return true
	}
	if host == "" {
		return false
	}
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	var unknown *net.DNSError
	if errors.As(err, &unknown) {
		return true
	}
	for _, ip := range ips {
		if !ip.IP.IsLoopback() {
			return false
		}
	}
	return true
}
