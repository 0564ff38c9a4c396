package transport

import (
	"cmp"
	"crypto/tls"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	pem "github.com/stele-db/stele/pkg/tls"
)

// CertificateOptions name the PEM files for TLS.
type CertificateOptions struct {
	// Logger is required.
	Logger *logrus.Entry
	// CertFile holds the server's certificate chain, KeyFile its key. Both are required.
	CertFile, KeyFile string
	// TrustedCAFile holds the certificate authorities of client certificates. As in etcd, setting it makes client
	// certificates compulsory.
	TrustedCAFile string
	// ClientCertAuth makes a client certificate compulsory, checked with the system's authorities if
	// TrustedCAFile is empty.
	ClientCertAuth bool
	// CRLFile lists revoked client certificates; empty revokes none. It needs client certificates.
	CRLFile string
	// MinVersion and MaxVersion are crypto/tls's VersionTLS constants. A zero MinVersion is TLS 1.2, a zero
	// MaxVersion the newest.
	MinVersion, MaxVersion uint16
	// CipherSuites for TLS 1.2; nil is crypto/tls's choice.
	CipherSuites []uint16
	// CheckInterval is the minimum time between two checks of the files for changes, which new connections trigger; 0
	// is 1 s.
	CheckInterval time.Duration
}

// Certificates are a server's certificate and the authorities of its clients. They are read again when their files
// change. Established connections keep the certificates that they started with.
type Certificates struct {
	opts CertificateOptions

	mu        sync.Mutex
	lastCheck time.Time
	stamps    []stamp
	config    *tls.Config
	// lastWarning is the time of the last warning about unreadable files. It is zero once they have been read.
	lastWarning time.Time
}

// stamp is the state of a file by which a change is detected.
type stamp struct {
	size    int64
	modTime time.Time
}

// LoadCertificates reads the files.
func LoadCertificates(opts CertificateOptions) (*Certificates, error) {
	if opts.Logger == nil {
		return nil, errors.New("certificates: a logger is required")
	}
	if opts.CertFile == "" || opts.KeyFile == "" {
		return nil, errors.New("TLS needs both a certificate file and a key file")
	}
	if opts.CRLFile != "" && opts.TrustedCAFile == "" && !opts.ClientCertAuth {
		return nil, errors.New("a list of revoked client certificates needs client certificates")
	}
	opts.MinVersion = cmp.Or(opts.MinVersion, tls.VersionTLS12)
	opts.CheckInterval = cmp.Or(opts.CheckInterval, time.Second)
	c := &Certificates{opts: opts, lastCheck: time.Now()}
	var err error
	// The stamps are taken first, so that a file that changes while it is read is read again.
	if c.stamps, err = c.stat(); err != nil {
		return nil, err
	}
	if c.config, err = c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

// listenerConfig returns the configuration for a listener's connections. It follows changes of the files.
func (c *Certificates) listenerConfig() *tls.Config {
	cfg := c.current().Clone()
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if conn, ok := hello.Conn.(*greeting); ok {
			conn.speaksHTTP1 = slices.Contains(hello.SupportedProtos, "http/1.1")
		}
		return c.current(), nil
	}
	return cfg
}

// current returns the newest configuration that could be read.
func (c *Certificates) current() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Sub(c.lastCheck) < c.opts.CheckInterval {
		return c.config
	}
	c.lastCheck = now
	stamps, err := c.stat()
	if err == nil {
		if slices.Equal(stamps, c.stamps) {
			return c.config
		}
		var cfg *tls.Config
		if cfg, err = c.load(); err == nil {
			c.stamps, c.config, c.lastWarning = stamps, cfg, time.Time{}
			c.opts.Logger.Info("read the changed certificate files")
		}
	}
	if err != nil {
		// While the files are being replaced, certificate and key may not match: the next connection tries again.
		c.warn(now, err)
	}
	return c.config
}

// warn logs once a minute that the files cannot be read. c.mu is held.
func (c *Certificates) warn(now time.Time, err error) {
	if now.Sub(c.lastWarning) < time.Minute {
		return
	}
	c.lastWarning = now
	c.opts.Logger.WithError(err).
		Warn("cannot read the changed certificate files; serving with the previous ones; correct the files")
}

func (c *Certificates) stat() ([]stamp, error) {
	var stamps []stamp
	for _, name := range []string{c.opts.CertFile, c.opts.KeyFile, c.opts.TrustedCAFile, c.opts.CRLFile} {
		if name == "" {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		stamps = append(stamps, stamp{size: info.Size(), modTime: info.ModTime()})
	}
	return stamps, nil
}

func (c *Certificates) load() (*tls.Config, error) {
	files := pem.Config{CertFile: c.opts.CertFile, KeyFile: c.opts.KeyFile, TrustedCAFile: c.opts.TrustedCAFile}
	cfg, err := files.ServerConfig()
	if err != nil {
		return nil, err
	}
	pair, err := cfg.GetCertificate(nil)
	if err != nil {
		return nil, err
	}
	cfg.Certificates, cfg.GetCertificate = []tls.Certificate{*pair}, nil // handshakes read no files
	cfg.MinVersion, cfg.MaxVersion, cfg.CipherSuites = c.opts.MinVersion, c.opts.MaxVersion, c.opts.CipherSuites
	cfg.NextProtos = []string{"h2", "http/1.1"}
	if c.opts.ClientCertAuth {
		cfg.ClientAuth = tls.RequireAndVerifyClientCert
	}
	if c.opts.CRLFile != "" {
		list, err := readRevocations(c.opts.CRLFile)
		if err != nil {
			return nil, err
		}
		cfg.VerifyConnection = list.verify
	}
	return cfg, nil
}
