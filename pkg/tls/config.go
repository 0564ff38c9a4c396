// Package tls configures TLS from PEM files, with the fields that programs with an embedded datastore set. A Config
// holds no certificates; ClientConfig and ServerConfig read the files.
package tls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// Config names PEM files. The zero value is no TLS.
type Config struct {
	// CAFile holds the authorities that must have signed the certificate of a server; empty means the system's
	// authorities.
	CAFile string
	// CertFile holds the certificate chain of a server or a client, KeyFile its key. Both are set or neither is.
	CertFile, KeyFile string
	// SkipVerify makes a client accept any server.
	SkipVerify bool
	// TrustedCAFile holds the authorities of client certificates. If it is set, clients must have a certificate.
	TrustedCAFile string
}

// ClientConfig returns the configuration of a client, or nil if neither a file nor SkipVerify is set. Each connection
// reads certificate and key again, so that they may be renewed.
func (c Config) ClientConfig() (*tls.Config, error) {
	if c.CAFile == "" && c.CertFile == "" && c.KeyFile == "" && !c.SkipVerify {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: c.SkipVerify} //nolint:gosec // only if the caller says so
	var err error
	if c.CAFile != "" {
		if config.RootCAs, err = authorities(c.CAFile); err != nil {
			return nil, err
		}
	}
	if c.CertFile == "" && c.KeyFile == "" {
		return config, nil
	}
	if _, err := c.pair(); err != nil {
		return nil, err
	}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.pair() }
	return config, nil
}

// ServerConfig returns the configuration of a server, or nil if it has no certificate. Each connection reads
// certificate and key again.
func (c Config) ServerConfig() (*tls.Config, error) {
	if c.CertFile == "" && c.KeyFile == "" {
		return nil, nil
	}
	if _, err := c.pair(); err != nil {
		return nil, err
	}
	config := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.pair() },
	}
	if c.TrustedCAFile == "" {
		return config, nil
	}
	var err error
	if config.ClientCAs, err = authorities(c.TrustedCAFile); err != nil {
		return nil, err
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	return config, nil
}

func (c Config) pair() (*tls.Certificate, error) {
	if c.CertFile == "" || c.KeyFile == "" {
		return nil, errors.New("certificate and key go together, one of the files is missing")
	}
	pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("cannot use certificate %s with key %s: %w", c.CertFile, c.KeyFile, err)
	}
	return &pair, nil
}

func authorities(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("there is no certificate in %s", file)
	}
	return pool, nil
}
