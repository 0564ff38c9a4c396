package main

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// tlsConfig holds the flags for TLS on the client port that etcd has and kine lacks.
type tlsConfig struct {
	minVersion   string
	maxVersion   string
	cipherSuites []string
	clientCRL    string
}

func (c *tlsConfig) flags(fs *pflag.FlagSet) {
	fs.StringVar(&c.clientCRL, "client-crl-file", "",
		"list of revoked client certificates, PEM or DER; read again when it changes")
	fs.StringVar(&c.minVersion, "tls-min-version", "TLS1.2",
		"oldest version of TLS that clients may use: TLS1.2 or TLS1.3")
	fs.StringVar(&c.maxVersion, "tls-max-version", "",
		"newest version of TLS that clients may use: TLS1.2 or TLS1.3 (default: the newest)")
	fs.StringSliceVar(&c.cipherSuites, "cipher-suites", nil,
		"cipher suites for TLS 1.2, by their names in Go's crypto/tls (default: Go's choice)")
}

// check validates the flags without reading a file. secure reports whether the client port has a certificate,
// clientCerts whether clients must have one.
func (c *tlsConfig) check(secure, clientCerts bool) error {
	if c.clientCRL != "" && (!secure || !clientCerts) {
		return errors.New("--client-crl-file revokes client certificates, which are not requested; " +
			"set --trusted-ca-file or --client-cert-auth too")
	}
	lowest, err := tlsVersion("--tls-min-version", c.minVersion)
	if err != nil {
		return err
	}
	highest, err := tlsVersion("--tls-max-version", c.maxVersion)
	if err != nil {
		return err
	}
	if highest != 0 && lowest > highest {
		return fmt.Errorf("--tls-min-version: %s is newer than the %s of --tls-max-version; exchange them, or leave "+
			"one out",
			c.minVersion, c.maxVersion)
	}
	if lowest == tls.VersionTLS13 && len(c.cipherSuites) > 0 {
		return errors.New("--cipher-suites: TLS 1.3 has fixed cipher suites, and --tls-min-version=TLS1.3 allows no " +
			"other version; leave one of the two out")
	}
	_, err = c.suites()
	return err
}

// versions returns constants of crypto/tls; 0 is its default. The flags are valid.
func (c *tlsConfig) versions() (lowest, highest uint16) {
	lowest, _ = tlsVersion("", c.minVersion)
	highest, _ = tlsVersion("", c.maxVersion)
	return cmp.Or(lowest, tls.VersionTLS12), highest
}

func tlsVersion(flag, name string) (uint16, error) {
	switch name {
	case "":
		return 0, nil
	case "TLS1.2":
		return tls.VersionTLS12, nil
	case "TLS1.3":
		return tls.VersionTLS13, nil
	}
	return 0, fmt.Errorf("%s: %q is neither TLS1.2 nor TLS1.3", flag, name)
}

// suites returns the cipher suites, or nil for the default of crypto/tls.
func (c *tlsConfig) suites() ([]uint16, error) {
	var ids []uint16
	for _, name := range c.cipherSuites {
		id, err := cipherSuite(strings.TrimSpace(name))
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

const exampleSuite = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"

func cipherSuite(name string) (uint16, error) {
	// etcd accepts these names from a draft of the standard.
	if strings.HasSuffix(name, "_CHACHA20_POLY1305") {
		name += "_SHA256"
	}
	named := func(s *tls.CipherSuite) bool { return s.Name == name }
	if i := slices.IndexFunc(tls.CipherSuites(), named); i >= 0 {
		return tls.CipherSuites()[i].ID, nil
	}
	if slices.ContainsFunc(tls.InsecureCipherSuites(), named) {
		return 0, fmt.Errorf("--cipher-suites: %s is insecure; leave it out, or name one like %s", name, exampleSuite)
	}
	return 0, fmt.Errorf("--cipher-suites: %q is not the name of a cipher suite; write it like %s", name, exampleSuite)
}
