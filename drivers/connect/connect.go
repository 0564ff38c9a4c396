// Package connect contains the parts of connecting that all drivers for database servers share.
package connect

import (
	"crypto/tls"
	"fmt"
	"time"

	pem "github.com/stele-db/stele/pkg/tls"
)

// DefaultMaxValueBytes is the default of [Options.MaxValueBytes]: etcd's default request limit.
const DefaultMaxValueBytes = 1536 * 1024

// Options are settings that a DSN lacks or should not contain, because DSNs are visible in the process list.
type Options struct {
	// Password replaces the DSN's password unless it is empty.
	Password string
	// PasswordFile names a file that contains the password, with or without a newline at its end. It takes precedence
	// over Password, and is read again for each connection.
	PasswordFile string
	// TLS configures TLS in addition to the DSN.
	TLS TLS
	// Pool bounds the connections.
	Pool Pool
	// BesideKine allows creating a log in a database that contains a table named kine. Otherwise Open refuses that,
	// because the operator may want to import the table.
	BesideKine bool
	// MaxValueBytes is the size of the largest value that must fit into an entry; 0 means [DefaultMaxValueBytes].
	MaxValueBytes int
}

// Pool bounds the connections, except for the one for appending and the one that listens for notifications. Zero values
// select the driver's defaults.
type Pool struct {
	// MaxOpen bounds the connections, and MaxIdle those that are kept while idle.
	MaxOpen, MaxIdle int
	// MaxLifetime and MaxIdleTime are the age and the idle time after which a connection is closed.
	MaxLifetime, MaxIdleTime time.Duration
}

// TLS configures how connections are secured and verified. The zero value leaves that to the DSN.
type TLS struct {
	// CAFile names a PEM file with the certificates that must have signed the server's. If it is empty, the system's
	// are used.
	CAFile string
	// CertFile and KeyFile name PEM files with the client's certificate and key.
	CertFile, KeyFile string
	// SkipVerify encrypts connections without verifying the server's identity.
	SkipVerify bool
}

// Wanted reports whether any field is set, which requires TLS.
func (t TLS) Wanted() bool { return t != TLS{} }

// Config returns the TLS configuration with the current contents of the files. The caller sets the server's name.
func (t TLS) Config() (*tls.Config, error) {
	files := pem.Config{CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile, SkipVerify: t.SkipVerify}
	config, err := files.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("TLS to the database: %w", err)
	}
	if config == nil {
		return &tls.Config{MinVersion: tls.VersionTLS12}, nil
	}
	if config.GetClientCertificate != nil {
		pair, err := config.GetClientCertificate(nil)
		if err != nil {
			return nil, fmt.Errorf("TLS to the database: %w", err)
		}
		config.Certificates, config.GetClientCertificate = []tls.Certificate{*pair}, nil
	}
	return config, nil
}
