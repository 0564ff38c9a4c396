// Package connect holds what connections to all database servers have in common.
package connect

import (
	"crypto/tls"
	"fmt"
	"time"

	pem "github.com/stele-db/stele/pkg/tls"
)

// DefaultMaxValueBytes is the largest value if [Options] do not say: etcd's default limit of a request.
const DefaultMaxValueBytes = 1536 * 1024

// Options are what a DSN does not say, or should not because it can be read in the process list.
type Options struct {
	// Password replaces the DSN's; empty leaves that.
	Password string
	// PasswordFile holds the password instead, followed by a newline or not. It is read again for each connection.
	PasswordFile string
	// TLS of the connection, beside what the DSN says.
	TLS TLS
	// Pool bounds the connections.
	Pool Pool
	// BesideKine lets a log begin in a database that holds a table named kine. Otherwise that is refused, because it
	// may be meant to be imported.
	BesideKine bool
	// MaxValueBytes is the largest value that must fit into an entry; 0 is [DefaultMaxValueBytes].
	MaxValueBytes int
}

// Pool bounds the connections but for the one for appending, and the one for listening to notifications. Zero values
// leave it to the driver.
type Pool struct {
	// MaxOpen bounds the connections, MaxIdle those that are kept while there is nothing to do.
	MaxOpen, MaxIdle int
	// MaxLifetime and MaxIdleTime close connections of that age.
	MaxLifetime, MaxIdleTime time.Duration
}

// TLS says how to secure and verify connections. The zero value leaves it to the DSN.
type TLS struct {
	// CAFile holds the certificates that the server's must be signed by, in PEM; empty are the system's.
	CAFile string
	// CertFile and KeyFile are the client's certificate, in PEM.
	CertFile, KeyFile string
	// SkipVerify encrypts without asking who the server is.
	SkipVerify bool
}

// Wanted tells whether any of it is set, which demands TLS.
func (t TLS) Wanted() bool { return t != TLS{} }

// Config reads the files, as each connection does. The caller sets the name of the server.
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
